"""Ollama, attached to by its address: its own API, which knows text alone and no log-probabilities of a prompt."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from engines.process import ProcessFailed
from engines.registry import engine
from engines.spec import Device, Dialect, Launch, Serving
from quant.spec import Scheme

TIMEOUT_SECONDS = 60.0


def unsupported(scheme: Scheme, format: str, device: Device) -> str | None:
    """Ollama runs llama.cpp's GGUF files."""
    return None if format == "gguf" else f"ollama loads GGUF, not {format} (the method gguf makes it)"


def probe(url: str, headers: Mapping[str, str], dialect: Dialect) -> tuple[Dialect, str]:
    """Whether it has the model, and what that is. Raises ProcessFailed with the way to make it."""
    answer = httpx.post(
        url + "/api/show", json={"model": dialect.model}, headers=dict(headers), timeout=TIMEOUT_SECONDS
    )
    if answer.status_code != 200:
        make = f"ollama create {dialect.model} -f Modelfile, with `FROM <checkpoint folder>/model.gguf` in it"
        raise ProcessFailed(f"{url} has no model '{dialect.model}' ({answer.text[:200]}); make it by: {make}")
    details = answer.json().get("details", {})
    told = ", ".join(
        str(details[name]) for name in ("family", "parameter_size", "quantization_level") if name in details
    )
    return dialect, f"{told}; OLLAMA_NUM_PARALLEL is its own affair: 1 means that requests wait for each other"


@engine(
    "ollama",
    environments={},
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
    probe=probe,
)
def ollama(serving: Serving) -> Launch:
    """Ollama's own API on a model made of one of our GGUF files (`attach:`); accuracy: see llama_cpp."""
    raise ProcessFailed(f"Ollama must run already, with a model of {serving.checkpoint}: give its address by `attach:`")
