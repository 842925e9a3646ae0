"""NVIDIA TensorRT-LLM by `trtllm-serve`, which speaks OpenAI's completions and refuses fields that it does not know."""

from __future__ import annotations

from typing import Annotated

from engines.parallel import Ways, refused
from engines.registry import engine
from engines.spec import Device, Dialect, Launch, Serving
from quant.spec import Range, Scheme


def unsupported(scheme: Scheme, format: str, device: Device) -> str | None:
    """Its PyTorch backend (1.x): unquantized, and FP8 with per-token scales; it would take INT8 W8A8 for FP8."""
    if format not in ("safetensors", "compressed-tensors"):
        return f"tensorrt_llm does not load the format {format} here"
    if device.kind == "cpu":
        return "tensorrt_llm needs an NVIDIA GPU"
    if scheme.unquantized or (scheme.weights == "fp8" and not scheme.static_activations and not scheme.kv_cache):
        return None
    return f"tensorrt_llm does not read {scheme.label} from compressed-tensors (ModelOpt's formats are what it reads)"


@engine(
    "tensorrt_llm",
    environments={"cuda": "tensorrt-llm"},
    dialect=Dialect(prompt_logprobs="none", chunk_tokens="usage", metrics="/prometheus/metrics"),
    unsupported=unsupported,
    refused=refused,
)
def tensorrt_llm(
    serving: Serving,
    *,
    free_gpu_memory_fraction: Annotated[float, Range(0.05, 1.0)] = 0.9,
    max_batch_size: Annotated[int, Range(1, 4096)] = 64,
    tensor_parallel: Ways = 1,
    pipeline_parallel: Ways = 1,
) -> Launch:
    """TensorRT-LLM's own server (`trtllm-serve`, on the PATH, in a container, or attached); no accuracy by it."""
    command = (
        str(serving.checkpoint), "--host", "127.0.0.1", "--port", str(serving.port), "--backend", "pytorch",
        "--max_seq_len", str(serving.max_model_len), "--max_batch_size", str(max_batch_size),
        "--tp_size", str(tensor_parallel), "--pp_size", str(pipeline_parallel),
        "--kv_cache_free_gpu_memory_fraction", str(free_gpu_memory_fraction),
    )  # fmt: skip
    return Launch(command, {"HF_HUB_OFFLINE": "1"}, ready_timeout_seconds=1800)
