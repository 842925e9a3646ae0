"""NVIDIA TensorRT-LLM by `trtllm-serve`, which speaks OpenAI's completions and refuses fields that it does not know.

Sources: its docs/source/commands/trtllm-serve, tensorrt_llm/serve/openai_protocol.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import yaml

from engines.bounded_http import json_of, request
from engines.parallelism import Ways, refused
from engines.registry import engine
from engines.runtime.cache import cache_folder
from engines.types import WHOLE_VOCABULARY, Device, Dialect, Launch, Serving, arguments
from quant.canonical_json import write_whole
from quant.hashing import digest
from quant.types import Range, Scheme

TIMEOUT_SECONDS = 60.0
MODELOPT = ("fp8", "NVFP4", "int4")  # W4A16_AWQ and W4A8_AWQ are int4


def unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]) -> str | None:
    """Its PyTorch backend (1.x): unquantized, FP8 with per-token scales, ModelOpt's own; INT8 it would take for FP8."""
    if checkpoint_format not in ("safetensors", "compressed-tensors", "modelopt"):
        return f"tensorrt_llm does not load the format {checkpoint_format} here"
    if device.kind == "cpu":
        return "tensorrt_llm needs an NVIDIA GPU"
    if checkpoint_format == "modelopt":
        return None if scheme.weights in MODELOPT else f"tensorrt_llm does not read ModelOpt's {scheme.label}"
    if scheme.unquantized or (scheme.weights == "fp8" and not scheme.static_activations and not scheme.kv_cache):
        return None
    return f"tensorrt_llm does not read {scheme.label} from compressed-tensors (ModelOpt's formats are what it reads)"


def computes_in(scheme: Scheme, device: Device, options: Mapping[str, Any]) -> str:
    """The checkpoint's type, which nothing changes."""
    return "auto"


def kv_facts(url: str, serving: Serving, dialect: Dialect) -> dict[str, str | int | float]:
    """KV capacity from its JSON metrics: statistics of the steps since they were read last, if they are kept."""
    body = {"model": dialect.model, "prompt": [1, 2], "max_tokens": 1}
    request("POST", url + dialect.completions, {}, seconds=TIMEOUT_SECONDS, json=body)
    answer = request("GET", url + "/metrics", {}, seconds=TIMEOUT_SECONDS)
    steps = json_of(answer) if answer.status_code == 200 else []
    caches = [step["kvCacheStats"] for step in steps if step.get("kvCacheStats")]
    return {"kv_cache_tokens": caches[-1]["maxNumBlocks"] * caches[-1]["tokensPerBlock"]} if caches else {}


@engine(
    "tensorrt_llm",
    environments={"cuda": "tensorrt-llm"},
    dialect=Dialect(
        prompt_logprobs="context_logits",
        chunk_tokens="usage",
        metrics=None,
        prompt_lists=False,
        top_tokens=WHOLE_VOCABULARY,
    ),
    unsupported=unsupported,
    refused=refused,
    prepare=kv_facts,
    computes_in=computes_in,
)
def tensorrt_llm(
    serving: Serving,
    *,
    free_gpu_memory_fraction: Annotated[float, Range(0.05, 1.0)] = 0.9,
    max_batch_size: Annotated[int, Range(1, 4096)] = 64,
    block_reuse: bool = False,
    iteration_statistics: bool = False,
    tensor_parallel: Ways = 1,
    pipeline_parallel: Ways = 1,
) -> Launch:
    """TensorRT-LLM's own server (`trtllm-serve`, on the PATH, in a container, or attached), block reuse off."""
    settings = {
        "kv_cache_config": {"enable_block_reuse": block_reuse, "free_gpu_memory_fraction": free_gpu_memory_fraction},
        "enable_iter_perf_stats": iteration_statistics,
    }
    # these have no argument of their own: block reuse is on by default, and repeats and context logits would use it
    file = cache_folder() / "tensorrt-llm" / f"{digest(settings)[:16]}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, yaml.safe_dump(settings))
    flags = {
        "--host": "127.0.0.1",
        "--port": serving.port,
        "--backend": "pytorch",
        "--max_seq_len": serving.max_model_len,
        "--max_batch_size": max_batch_size,
        "--tp_size": tensor_parallel,
        "--pp_size": pipeline_parallel,
        "--extra_llm_api_options": file,
    }
    return Launch((str(serving.checkpoint), *arguments(flags)), {"HF_HUB_OFFLINE": "1"}, ready_timeout_seconds=1800)
