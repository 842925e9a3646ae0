"""`python -m engines.launchers.triton_server`: a real tritonserver on a model repository that is written here, and
goes with it.

Runs in the environment `triton`, whose wheel nvidia-pytriton holds the server, its Python backend and that backend's
stubs. HTTP and metrics listen on 127.0.0.1 alone, gRPC not at all. A key on Triton's command line could be read by
every user of the machine: our model itself wants the one in BITFRONTIER_API_KEY with each request, and pages that
would change the server are closed to all. What it tells of itself (health, metadata, counts, durations) is open.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODEL = "served"
CLOSED = "shared-memory,model-repository,trace,logging"
NEVER_SENT = "\n"  # no header holds a line end
INPUTS = {
    "prompt": ("INT64", -1),
    "max_tokens": ("INT32", 1),
    "ignore_eos": ("BOOL", 1),
    "stream": ("BOOL", 1),
    "items": ("STRING", 1),
    "key": ("STRING", 1),
}
OUTPUTS = {"text": "STRING", "prompt_tokens": "INT32", "completion_tokens": "INT32", "scores": "STRING"}
SOURCE = """import sys

sys.path.insert(0, {root!r})
from engines.launchers.triton_model import TritonPythonModel  # noqa: E402, F401
"""


def config(settings: Mapping[str, Any], device: str) -> str:
    """`config.pbtxt` of our model: a request brings a prompt or items to score; answers come when they are there."""
    inputs = [f'{{ name: "{n}" data_type: TYPE_{t} dims: [ {d} ] optional: true }}' for n, (t, d) in INPUTS.items()]
    outputs = [f'{{ name: "{n}" data_type: TYPE_{t} dims: [ 1 ] }}' for n, t in OUTPUTS.items()]
    kind = "KIND_GPU" if device == "cuda" else "KIND_CPU"
    return "\n".join(
        [
            f'name: "{MODEL}"',
            'backend: "python"',
            "max_batch_size: 0",
            "model_transaction_policy { decoupled: true }",
            f"input [ {', '.join(inputs)} ]",
            f"output [ {', '.join(outputs)} ]",
            f"instance_group [ {{ kind: {kind} count: 1 }} ]",
            f'parameters {{ key: "settings" value: {{ string_value: {json.dumps(json.dumps(settings))} }} }}',
            "",
        ]
    )


def write_repository(folder: Path, settings: Mapping[str, Any], device: str) -> None:
    """The model repository with our one model."""
    version = folder / MODEL / "1"
    version.mkdir(parents=True)
    (folder / MODEL / "config.pbtxt").write_text(config(settings, device), encoding="utf-8")
    (version / "model.py").write_text(SOURCE.format(root=str(ROOT)), encoding="utf-8")


def write_backends(folder: Path, triton: Path) -> None:
    """A backend directory like the wheel's, with the Python backend's stub for this version of Python."""
    stub = triton / "python_backend_stubs" / f"3.{sys.version_info.minor}" / "triton_python_backend_stub"
    backend = folder / "python"
    backend.mkdir(parents=True)
    for file in [*(triton / "backends" / "python").iterdir(), stub]:
        (backend / file.name).symlink_to(file)


def command(triton: Path, folder: Path, port: int, metrics_port: int) -> list[str]:
    return [
        str(triton / "bin" / "tritonserver"),
        "--model-repository",
        str(folder / "models"),
        "--backend-directory",
        str(folder / "backends"),
        "--exit-on-error",
        "true",
        "--disable-auto-complete-config",
        "--http-address",
        "127.0.0.1",
        "--http-port",
        str(port),
        "--allow-grpc",
        "false",
        "--http-restricted-api",
        f"{CLOSED}:authorization={NEVER_SENT}",
        "--allow-metrics",
        "true",
        "--metrics-address",
        "127.0.0.1",
        "--metrics-port",
        str(metrics_port),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "device", "dtype"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("port", "metrics-port", "threads", "max-batch", "max-model-len"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the repository is taken away, the guard ends the server
    spec = importlib.util.find_spec("pytriton")
    triton = Path(str(spec.origin if spec else "")).parent / "tritonserver"
    settings = {
        name: getattr(given, name) for name in ("model", "device", "dtype", "threads", "max_batch", "max_model_len")
    }
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",  # the stub's Python finds itself there
        "LD_LIBRARY_PATH": ":".join(
            filter(None, [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")])
        ),
    }
    with tempfile.TemporaryDirectory(prefix="bitfrontier-triton-") as folder:
        write_repository(Path(folder) / "models", settings, given.device)
        write_backends(Path(folder) / "backends", triton)
        line = command(triton, Path(folder), given.port, given.metrics_port)
        sys.exit(subprocess.run(line, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
