"""Hugging Face Text Generation Inference, by its own API. In maintenance since December 2025.

It knows quantized checkpoints by their configuration; `quantize` forces a reader for one. What would quantize while it
loads is refused: it would be timed under the unquantized model's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from engines import parallelism
from engines.parallelism import Ways
from engines.registry import engine
from engines.types import Device, Dialect, Launch, Serving, arguments
from quant.types import Range, Scheme

WHILE_LOADING = ("eetq", "bitsandbytes", "bitsandbytes-nf4", "bitsandbytes-fp4", "fp8")
Quantize = Literal[
    "",
    "awq",
    "gptq",
    "marlin",
    "exl2",
    "compressed-tensors",
    "eetq",
    "bitsandbytes",
    "bitsandbytes-nf4",
    "bitsandbytes-fp4",
    "fp8",
]


def unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]) -> str | None:
    """What its launcher recognises by the checkpoint's own configuration (its docs/source/conceptual/quantization)."""
    if checkpoint_format not in ("safetensors", "compressed-tensors", "gptq", "awq", "bitsandbytes"):
        return f"tgi does not load the format {checkpoint_format} here"
    if scheme.weights.startswith(("NVFP4", "MXFP4")):
        return f"tgi has no kernel for {scheme.weights}"
    return None


def refused(options: Mapping[str, Any], device: Device) -> str | None:
    """Quantizing behind a method's back, and what its launcher takes only apart."""
    if options["quantize"] in WHILE_LOADING:
        return f"tgi's quantize {options['quantize']} would quantize while it loads; use a method, which is named"
    if options["quantize"] and options["dtype"] != "auto":
        return "tgi takes `quantize` or `dtype`, not both"
    return parallelism.refused(options, device)


@engine(
    "tgi",
    environments={"cuda": "tgi"},
    dialect=Dialect(
        prompt_logprobs="prefill",
        chunk_tokens="index",
        form="tgi",
        prompts="text",
        completions="/generate",
        streams="/generate_stream",
        ignore_eos=False,
        metrics="/metrics",
    ),
    unsupported=unsupported,
    refused=refused,
)
def tgi(
    serving: Serving,
    *,
    dtype: Literal["auto", "float16", "bfloat16"] = "auto",
    quantize: Quantize = "",
    kv_cache_dtype: Literal["auto", "fp8_e4m3fn", "fp8_e5m2"] = "auto",
    cuda_memory_fraction: Annotated[float, Range(0.05, 1.0)] = 0.9,
    max_concurrent_requests: Annotated[int, Range(1, 4096)] = 128,
    tensor_parallel: Ways = 1,
) -> Launch:
    """Text Generation Inference by its launcher (on the PATH, in a container, or attached); prompts are text."""
    flags = {
        "--model-id": serving.checkpoint,
        "--hostname": "127.0.0.1",
        "--port": serving.port,
        "--max-input-tokens": serving.max_model_len - 1,
        "--max-total-tokens": serving.max_model_len,
        "--max-concurrent-requests": max_concurrent_requests,
        "--num-shard": tensor_parallel,
        "--cuda-memory-fraction": cuda_memory_fraction,
        "--enable-prefill-logprobs": True,
        "--disable-grammar-support": True,
        "--dtype": None if dtype == "auto" else dtype,
        "--quantize": quantize or None,
        "--kv-cache-dtype": None if kv_cache_dtype == "auto" else kv_cache_dtype,
    }
    variables = {
        "API_KEY": serving.api_key,
        "PREFIX_CACHING": "0",  # repeats would come from the cache
        "HF_HUB_OFFLINE": "1",
        "TRUST_REMOTE_CODE": "false",
        "USAGE_STATS": "off",
    }
    return Launch(arguments(flags), variables, ready_timeout_seconds=1800)
