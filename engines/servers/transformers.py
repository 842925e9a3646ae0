"""Transformers behind our thin server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from engines.registry import engine
from engines.runtime.entry_points import TRANSFORMERS_SERVER
from engines.types import WHOLE_VOCABULARY, Device, Dialect, Launch, Serving
from quant.types import FLOATS, Architecture, Range, Scheme

THIN = Dialect(  # what our own server speaks, whatever runs behind it
    prompt_logprobs="score",
    chunk_tokens="usage",
    metrics="/metrics",
    kv_peak_gauge="bitfrontier_kv_cache_peak_bytes",
    top_tokens=WHOLE_VOCABULARY,
)
FACTS_PREFIX = "bitfrontier-facts "
# llm-compressor 0.14 stores the quantized experts of these under names that Transformers 5 does not look for
EXPERTS_RENAMED = ("GptOssForCausalLM", "GraniteMoeForCausalLM", "MixtralForCausalLM")
FORMATS = ("safetensors", "compressed-tensors", "bitsandbytes", "torchao", "gptq", "awq")


def unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]) -> str | None:
    """Transformers reads all that compressed-tensors writes, and with GPTQModel gptq and awq; an FP8 KV cache is
    emulated and saves no memory. ModelOpt's codes it would take for weights.
    """
    if checkpoint_format not in FORMATS:
        return f"transformers does not load the format {checkpoint_format} here (it loads {', '.join(FORMATS)})"
    return None


def unsupported_model(
    architecture: Architecture, scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]
) -> str | None:
    """What our server and Transformers do not do: share keys and values where layers have none, quantize the inputs of
    experts, which it holds in one tensor, or read their zero points.
    """
    if architecture.recurrent:
        return (
            f"our server shares keys and values among requests, and layers of {architecture.name} keep a state instead"
        )
    if architecture.experts and scheme.activations not in (*FLOATS, "unknown"):
        return f"Transformers quantizes no activations of experts, so {scheme.label} would not be what ran"
    if architecture.experts and checkpoint_format in ("gptq", "awq"):
        return "Transformers reads quantized experts from compressed-tensors alone"
    if checkpoint_format != "compressed-tensors":
        return None
    if architecture.experts and not scheme.symmetric:
        return f"Transformers reads no zero points of experts, and {scheme.label} has them"
    if architecture.name in EXPERTS_RENAMED:
        return f"Transformers does not find the quantized experts of {architecture.name}: llm-compressor renames them"
    return None


def read_facts(log: str) -> dict[str, str | int | float]:
    lines = [line for line in log.splitlines() if line.startswith(FACTS_PREFIX)]
    return dict(json.loads(lines[-1].removeprefix(FACTS_PREFIX))) if lines else {}


def thin_command(module: str, serving: Serving, dtype: str, max_batch: int) -> tuple[str, ...]:
    """The command line of one of our servers around a torch module."""
    return (
        "-m",
        module,
        "--model",
        str(serving.checkpoint),
        "--port",
        str(serving.port),
        "--device",
        serving.device.kind,
        "--dtype",
        serving.dtype(dtype),
        "--threads",
        str(serving.threads),
        "--max-batch",
        str(max_batch),
        "--max-model-len",
        str(serving.max_model_len),
    )


def thin_variables(serving: Serving) -> dict[str, str]:
    return {
        "BITFRONTIER_API_KEY": serving.api_key,
        "OMP_NUM_THREADS": str(serving.threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # a spinning thread takes its core from the client and from neighbours
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "warning",
        "TOKENIZERS_PARALLELISM": "false",
    }


@engine(
    "transformers",
    environments={"cpu": "transformers", "cuda": "transformers"},
    format_environments={"gptq": "gptqmodel", "awq": "gptqmodel"},
    dialect=THIN,
    unsupported=unsupported,
    unsupported_model=unsupported_model,
    read_facts=read_facts,
    emulates=True,
)
def transformers(
    serving: Serving,
    *,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    max_batch: Annotated[int, Range(1, 4096)] = 64,
) -> Launch:
    """Hugging Face Transformers with continuous batching; quantized layers are emulated in torch."""
    variables = thin_variables(serving)
    if serving.device.kind == "cpu":  # GPTQModel's 8-bit layers would be compiled for half a minute, and be no faster
        variables |= {"TORCHDYNAMO_DISABLE": "1"}
    return Launch(thin_command(TRANSFORMERS_SERVER, serving, dtype, max_batch), variables)
