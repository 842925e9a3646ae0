"""Ollama, by its own API (https://github.com/ollama/ollama/blob/main/docs/api.md): text alone, and no log-probabilities
of a prompt. Found on the PATH, in a container, or attached to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import httpx

from engines.bounded_http import bounded, bounded_client, json_of, request
from engines.redaction import excerpt
from engines.registry import engine
from engines.runtime.cache import cache_folder
from engines.runtime.process import ProcessFailed
from engines.servers.llama_cpp import unsupported_model
from engines.types import Device, Dialect, Launch, Serving
from quant.checkpoints.safetensors import hash_file
from quant.types import Range, Scheme

TIMEOUT_SECONDS = 600.0
LEAST_BYTES_A_SECOND = 20e6  # of a file that Ollama takes and hashes on this machine
PART_BYTES = 2**20


def unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]) -> str | None:
    """Ollama runs llama.cpp's GGUF files."""
    if checkpoint_format == "gguf":
        return None
    return f"ollama loads GGUF, not {checkpoint_format} (the method gguf makes it)"


def probe(url: str, headers: Mapping[str, str], dialect: Dialect) -> tuple[Dialect, str]:
    """Whether it has the model, and what that is. Raises ProcessFailed with the way to make it."""
    answer = request("POST", url + "/api/show", headers, seconds=TIMEOUT_SECONDS, json={"model": dialect.model})
    if answer.status_code != 200:
        make = f"ollama create {dialect.model} -f Modelfile, with `FROM <checkpoint folder>/model.gguf` in it"
        message = f"{url} has no model '{dialect.model}' ({excerpt(answer.text, 200)}); make it by: {make}"
        raise ProcessFailed(message, kind="unreachable-server")
    details = json_of(answer).get("details", {})
    summary = ", ".join(
        str(details[name])[:100] for name in ("family", "parameter_size", "quantization_level") if name in details
    )
    return dialect, f"{summary}; OLLAMA_NUM_PARALLEL is its own affair: 1 means that requests wait for each other"


def make_model(url: str, serving: Serving, dialect: Dialect) -> dict[str, str | int | float]:
    """Give it our GGUF file, make a model of it, load that, and ask what it takes. Raises ProcessFailed."""
    file = serving.checkpoint / "model.gguf"
    digest = f"sha256:{hash_file(file)}"
    settings = {"num_ctx": serving.max_model_len, "num_thread": serving.threads}

    def ask(method: str, path: str, body: Any = None) -> httpx.Response:
        return request(method, url + path, {}, seconds=TIMEOUT_SECONDS, json=body)

    if ask("HEAD", f"/api/blobs/{digest}").status_code != 200:
        _checked_json(asyncio.run(_upload(url, f"/api/blobs/{digest}", file)), "take the GGUF file", 201)
    wanted = {"model": dialect.model, "files": {file.name: digest}, "parameters": settings, "stream": False}
    _checked_json(ask("POST", "/api/create", wanted), "make a model of it")
    _checked_json(ask("POST", "/api/generate", {"model": dialect.model, "stream": False}), "load it")
    version = _checked_json(ask("GET", "/api/version"), "report its version")["version"]
    running = _checked_json(ask("GET", "/api/ps"), "list what runs")["models"]
    facts: dict[str, str | int | float] = {"version": version, "dtype": "float16"}
    for model in running:
        facts |= {"loaded_bytes": int(model["size"]), "loaded_device_bytes": int(model.get("size_vram", 0))}
    return facts


async def _upload(url: str, path: str, file: Path) -> httpx.Response:
    async def parts() -> AsyncIterator[bytes]:
        with file.open("rb") as content:
            while part := content.read(PART_BYTES):
                yield part

    size = file.stat().st_size
    seconds, headers = TIMEOUT_SECONDS + size / LEAST_BYTES_A_SECOND, {"Content-Length": str(size)}
    async with bounded_client(url, headers) as client:
        return await bounded(client, "POST", path, seconds=seconds, content=parts())


def _checked_json(answer: httpx.Response, action: str, wanted: int = 200) -> Any:
    if answer.status_code != wanted:
        raise ProcessFailed(f"Ollama did not {action}: HTTP {answer.status_code}: {excerpt(answer.text)}")
    return json_of(answer) if answer.content else None


@engine(
    "ollama",
    environments={"cpu": "ollama", "cuda": "ollama"},
    dialect=Dialect(
        prompt_logprobs="none",
        chunk_tokens="one",
        form="ollama",
        prompts="text",
        completions="/api/generate",
        ignore_eos=False,
        metrics=None,
        health="/api/version",
    ),
    unsupported=unsupported,
    unsupported_model=unsupported_model,
    probe=probe,
    prepare=make_model,
)
def ollama(serving: Serving, *, parallel: Annotated[int, Range(1, 256)] = 8) -> Launch:
    """Ollama's own API on a model made of one of our GGUF files; accuracy: see llama_cpp with the same file."""
    variables = {
        "OLLAMA_HOST": f"127.0.0.1:{serving.port}",
        "OLLAMA_MODELS": str(cache_folder() / "ollama"),
        "OLLAMA_NUM_PARALLEL": str(parallel),  # 1 by default: requests would wait for each other
        "OLLAMA_CONTEXT_LENGTH": str(serving.max_model_len),
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_MAX_LOADED_MODELS": "1",
    }
    return Launch(("serve",), variables)
