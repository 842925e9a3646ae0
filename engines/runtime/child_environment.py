"""The environment of every child process: listed variables of the user's shell, and what the caller gives.

Engines and tools read hundreds of variables. One that is left in a shell (`VLLM_LOGGING_LEVEL`, `LLAMA_ARG_CTX_SIZE`,
`OMP_NUM_THREADS`) would change what is measured without a word, so none goes through that is not listed here. Nor does
a key, whatever the list says of names that begin so (`NVIDIA_API_KEY`); only what fetches gets those of its own list.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from engines.redaction import SECRET_VARIABLE

# who and where: places, language, time zone, certificates
_PLACES = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "XDG_*",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_DATASETS_CACHE",
    "HF_MODULES_CACHE",
    "TRITON_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "MPLCONFIGDIR",
    "NUMBA_CACHE_DIR",
    "SSL_CERT_*",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "BITFRONTIER_*",
    "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "TRANSFORMERS_OFFLINE",
)
# what this machine needs to work at all: devices, libraries, compilers, containers
_MACHINE = (
    "CUDA_*",
    "NVIDIA_*",
    "NCCL_*",
    "LD_LIBRARY_PATH",
    "CC",
    "CXX",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "CONTAINER_HOST",
)
# of those, what decides how a server computes, wherever it runs
_DECIDING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "CUDA_*", "NVIDIA_*", "NCCL_*", "LD_LIBRARY_PATH")
# but which devices there are is in the machine's record, and where things lie decides nothing
_NOT_DECIDING = frozenset(
    {
        "CUDA_VISIBLE_DEVICES",
        "CUDA_DEVICE_ORDER",
        "CUDA_HOME",
        "CUDA_PATH",
        "CUDA_CACHE_PATH",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
    }
)
# for those alone that fetch something: a server that is measured needs no network and no token
_FETCHING = (
    "HF_*",
    "HUGGING_FACE_HUB_TOKEN",
    "UV_*",
    "PIP_*",
    "NETRC",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
)
_LISTS_OF_PATHS = ("PATH", "LD_LIBRARY_PATH")
_PATHS = (
    *("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME", "HF_HUB_CACHE"),
    *("HF_DATASETS_CACHE", "HF_MODULES_CACHE", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "MPLCONFIGDIR"),
    *("NUMBA_CACHE_DIR", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CUDA_HOME", "CUDA_CACHE_PATH"),
)
# no tool reports to its makers; DO_NOT_TRACK (https://consoledonottrack.com) is Prefect's and others', too
QUIET = {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1"}
_FIXED = {
    # GPUs are numbered as NVML numbers them: by where they are plugged in, not the fastest first
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    # a Latin-1 terminal is the user's: tools print and read what it has no characters for
    "PYTHONUTF8": "1",
    # `-m` looks into the working directory first: that may be a model's folder, or a run from somebody else
    "PYTHONSAFEPATH": "1",
    **QUIET,
}


def child_environment(variables: Mapping[str, str], *, fetches: bool = False) -> dict[str, str]:
    """What a child gets: the listed variables that are set here, then `variables`."""
    passed = {name: _absolute(name, os.environ[name]) for name in passed_variables(fetches=fetches)}
    return {**passed, **_FIXED, **variables}


def _absolute(name: str, value: str) -> str:
    """Paths from the working directory: a child works in another folder. One that begins with a home or a variable
    (`~/hub`, `$SCRATCH/hub`, of a file that no shell reads) stays: the hub's client puts in what it means.
    """
    if value.startswith(("~", "$")):
        return value
    if name in _LISTS_OF_PATHS:
        return os.pathsep.join(str(Path(path).absolute()) for path in value.split(os.pathsep) if path)
    return str(Path(value).absolute()) if value and name.startswith(_PATHS) else value


def passed_variables(*, fetches: bool = False) -> list[str]:
    """The names of this process's variables that go through to a child."""
    names = {name for name in _set_here(*_PLACES, *_MACHINE) if not SECRET_VARIABLE.search(name)}
    return sorted(names.union(_set_here(*_FETCHING) if fetches else ()))


def deciding_variables() -> dict[str, str]:
    """Those of the variables that go through that would change what is measured; they are in the keys."""
    names = set(_set_here(*_DECIDING)) & set(passed_variables()) - _NOT_DECIDING
    return {name: os.environ[name] for name in sorted(names)}


def _set_here(*listed: str) -> list[str]:
    exact = {name for name in listed if not name.endswith("*")}
    prefixes = tuple(name.removesuffix("*") for name in listed if name.endswith("*"))
    return sorted(name for name in os.environ if name in exact or name.startswith(prefixes))
