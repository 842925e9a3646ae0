"""llama.cpp by its own llama-server: the one in the wheel xllamacpp, or an executable of the user's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from typing import Annotated, Any

from engines.registry import engine
from engines.runtime.entry_points import LLAMA_CPP_SERVER
from engines.types import Device, Dialect, Launch, Serving, arguments
from quant.types import Architecture, Program, Range, Scheme

VERSION = re.compile(r"bitfrontier-version (\S+)")
WEIGHTS = re.compile(r"\b(\w+) model buffer size =\s+([\d.]+) MiB")
KV = re.compile(r"llama_kv_cache: size =\s+([\d.]+) MiB \(\s*(\d+) cells,\s+\d+ layers,\s+(\d+)/")
MIB = 1024**2
# whose GGUF files do not say that attention has a sliding window; Phi-3's do, and llama.cpp leaves it out
WITHOUT_WINDOW = (
    "MistralForCausalLM",
    "MixtralForCausalLM",
    "Phi3ForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Starcoder2ForCausalLM",
)
# of others every so many layers have none, whatever the model's configuration says (llama.cpp's `load_hparams`)
WINDOW_PERIODS = {
    "Cohere2ForCausalLM": 4,
    "Exaone4ForCausalLM": 4,
    "Gemma2ForCausalLM": 2,
    "Gemma3ForCausalLM": 6,
    "GptOssForCausalLM": 2,
}
EXAONE4_LAYERS = 64  # with any other number of layers it takes Exaone 4 for a model without windows


def unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]) -> str | None:
    """llama.cpp loads GGUF alone."""
    if checkpoint_format == "gguf":
        return None
    return f"llama_cpp loads GGUF, not {checkpoint_format} (the method gguf makes it)"


def unsupported_model(
    architecture: Architecture, scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]
) -> str | None:
    """llama.cpp leaves out the sliding window of some; texts that are no longer than it are right. To layers of
    others it gives one by a period of its own.
    """
    if architecture.window and architecture.name in WITHOUT_WINDOW:
        return (
            f"llama.cpp computes {architecture.name} without its sliding window. "
            f"Plan no text of more than {architecture.window} tokens"
        )
    if any(architecture.windowed) and architecture.windowed != _windowed(architecture):
        return (
            f"llama.cpp takes other layers of {architecture.name} for those with a sliding window than this model has"
        )
    return None


def _windowed(architecture: Architecture) -> tuple[bool, ...]:
    """Which layers llama.cpp gives a window: what the file says where it has no period of its own."""
    period, count = WINDOW_PERIODS.get(architecture.name), len(architecture.windowed)
    if period is None:
        return architecture.windowed
    without = architecture.name == "Exaone4ForCausalLM" and count != EXAONE4_LAYERS
    return tuple(not without and bool((number + 1) % period) for number in range(count))


def read_facts(log: str) -> dict[str, str | int | float]:
    """Version, weight and KV bytes, from the lines in which llama.cpp tells them."""
    facts: dict[str, str | int | float] = {"dtype": "float16"}
    if match := VERSION.search(log):
        facts["version"] = match[1]
    buffers = dict(WEIGHTS.findall(log))  # a line may be printed twice: once while fitting, once while loading
    if buffers:
        facts["weights_bytes"] = int(sum(float(size) for size in buffers.values()) * MIB)
    if caches := KV.findall(log):
        facts["kv_cache_bytes"] = int(float(caches[-1][0]) * MIB)
        facts["kv_cache_tokens"] = int(caches[-1][1]) * int(caches[-1][2])  # cells of one slot × slots
    facts["kernel"] = "ggml " + ", ".join(sorted(buffers)) if buffers else "ggml"
    return facts


def refused(options: Mapping[str, Any], device: Device) -> str | None:
    """An executable that is not there."""
    if options["executable"] and shutil.which(options["executable"]) is None:
        return f"no executable llama-server at '{options['executable']}'"
    return None


@engine(
    "llama_cpp",
    environments={"cpu": "llama-cpp"},
    dialect=Dialect(
        prompt_logprobs="forcing",
        chunk_tokens="timings",
        metrics="/metrics",
        request_fields={"cache_prompt": False, "timings_per_token": True},
        top_tokens=128,
    ),
    unsupported=unsupported,
    unsupported_model=unsupported_model,
    refused=refused,
    read_facts=read_facts,
)
def llama_cpp(
    serving: Serving, *, parallel: Annotated[int, Range(1, 256)] = 8, executable: Annotated[str, Program()] = ""
) -> Launch:
    """llama.cpp's own llama-server on GGUF files, prompt cache off; more requests than slots (`parallel`) wait."""
    flags = {
        "--model": serving.checkpoint / "model.gguf",
        "--port": serving.port,
        "--threads": serving.threads,
        "--context": serving.max_model_len,
        "--parallel": parallel,
        "--executable": shutil.which(executable) if executable else None,
    }
    return Launch(("-m", LLAMA_CPP_SERVER, *arguments(flags)), {"BITFRONTIER_API_KEY": serving.api_key})
