"""SGLang, by its own server: its wheel on CUDA, the same wheel without its CUDA packages on a CPU."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from engines.parallelism import Ways, refused
from engines.registry import engine
from engines.runtime.entry_points import SGLANG_SERVER
from engines.types import NEUTRAL_SAMPLING, Device, Dialect, Launch, Serving, arguments
from quant.types import Range, Scheme

VERSION = re.compile(r"bitfrontier-version (\S+)")
KV = re.compile(r"KV Cache is allocated\. dtype: torch\.(\w+)")
DTYPE = re.compile(r"'dtype': '(\w+)'")
ATTENTION = re.compile(r"'attention_backend': '(\w+)'")
GIB = 1024.0**3
CPU_KV_TOKENS = 16384
CPU_ARGUMENTS = (
    "--attention-backend",
    "torch_native",
    "--sampling-backend",
    "pytorch",
    "--disable-overlap-schedule",
    "--disable-cuda-graph",
)
RESERVED_TOKENS = 7  # SGLang refuses prompts that leave fewer of the context free


def unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]) -> str | None:
    """SGLang 0.5.23: the kernels of its quantized layers are in sgl_kernel, which the CPU environment does not have."""
    if checkpoint_format not in ("safetensors", "compressed-tensors", "gptq", "awq", "modelopt"):
        return f"sglang does not load the format {checkpoint_format} here"
    if checkpoint_format == "gptq" and not scheme.symmetric:
        return "sglang reads symmetric GPTQ alone"
    if checkpoint_format == "modelopt" and scheme.weights not in ("fp8", "NVFP4"):
        return f"sglang does not read ModelOpt's {scheme.label}"
    if device.kind == "cpu" and not scheme.unquantized:
        return (
            f"sglang on CPU has its kernels for {scheme.label} in sgl_kernel, which its environment here does not have"
        )
    if scheme.weights.startswith("MXFP4"):
        return "sglang does not read MXFP4 from compressed-tensors"
    return None


def read_facts(log: str) -> dict[str, str | int | float]:
    """Version, types and attention backend, from the lines in which SGLang tells them."""
    patterns = {"version": VERSION, "dtype": DTYPE, "kv_cache_dtype": KV, "attention": ATTENTION}
    matches = {name: pattern.search(log) for name, pattern in patterns.items()}
    facts: dict[str, str | int | float] = {name: match[1] for name, match in matches.items() if match}
    return facts | {"kernel": f"{facts.pop('attention', 'unknown')} attention"}


@engine(
    "sglang",
    environments={"cpu": "sglang-cpu", "cuda": "sglang-cuda"},
    dialect=Dialect(
        prompt_logprobs="logprob_start_len",
        chunk_tokens="usage",
        metrics="/metrics",
        fact_gauges={  # not its weights: that gauge is how much free memory fell, up to 6 % off on a CPU
            "kv_cache_bytes": ("sglang:kv_cache_memory_usage_gb", GIB),
            "kv_cache_tokens": ("sglang:max_total_num_tokens", 1.0),
        },
        flush="/flush_cache",
        top_tokens=128,
        request_fields=NEUTRAL_SAMPLING,
    ),
    unsupported=unsupported,
    refused=refused,
    read_facts=read_facts,
)
def sglang(
    serving: Serving,
    *,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    radix_cache: bool = False,
    max_running_requests: Annotated[int, Range(1, 4096)] = 64,
    kv_cache_tokens: Annotated[int, Range(256, 10_000_000)] | None = None,
    mem_fraction_static: Annotated[float, Range(0.05, 1.0)] = 0.85,
    tensor_parallel: Ways = 1,
    pipeline_parallel: Ways = 1,
    data_parallel: Ways = 1,
) -> Launch:
    """SGLang's own server, radix (prefix) cache off unless asked for, and emptied before each load point."""
    on_cpu, context = serving.device.kind == "cpu", serving.max_model_len + RESERVED_TOKENS
    tokens = kv_cache_tokens or (CPU_KV_TOKENS if on_cpu else None)
    flags = {
        "--model-path": serving.checkpoint,
        "--served-model-name": "served",
        "--host": "127.0.0.1",
        "--port": serving.port,
        "--sampling-defaults": "openai",  # greedy is greedy: no defaults of the model's own file
        "--device": serving.device.kind,
        "--dtype": serving.dtype(dtype),
        "--context-length": context,
        "--max-running-requests": max_running_requests,
        "--mem-fraction-static": mem_fraction_static,
        "--enable-metrics": True,
        "--skip-server-warmup": True,
        "--grammar-backend": "none",
        "--tp-size": tensor_parallel,
        "--pp-size": pipeline_parallel,
        "--dp-size": data_parallel,
        "--max-total-tokens": max(tokens, context) if tokens else None,
        "--disable-radix-cache": not radix_cache,
    }
    variables = {
        "BITFRONTIER_API_KEY": serving.api_key,
        "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN": "1",  # what is reserved may lie behind the model's last position
        "OMP_NUM_THREADS": str(serving.threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # a spinning thread takes its core from SGLang's other processes
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return Launch(
        ("-m", SGLANG_SERVER, *arguments(flags), *(CPU_ARGUMENTS if on_cpu else ())),
        variables | ({"SGLANG_USE_CPU_ENGINE": "1"} if on_cpu else {}),
    )
