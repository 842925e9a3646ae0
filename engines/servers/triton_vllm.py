"""NVIDIA Triton Inference Server with its vLLM backend, on a model repository of ours.

Source: https://github.com/triton-inference-server/vllm_backend (README.md, src/utils/request.py). Its answers tell the
tokens of each response where they are asked for; of prompts it gives no log-probabilities.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from engines.parallelism import Ways, refused
from engines.registry import engine
from engines.runtime.cache import cache_folder
from engines.runtime.server import free_port
from engines.servers.vllm import GIB, batches
from engines.servers.vllm import unsupported as vllm_unsupported
from engines.types import Device, Dialect, Launch, Serving, arguments
from quant.canonical_json import write_whole
from quant.hashing import digest
from quant.types import Range, Scheme

CONFIG = """name: "served"
backend: "vllm"
instance_group [ { kind: KIND_MODEL count: 1 } ]
parameters { key: "REPORT_CUSTOM_METRICS" value: { string_value: "true" } }
"""


def unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]) -> str | None:
    """What vLLM reads."""
    reason = vllm_unsupported(scheme, checkpoint_format, device, options)
    return reason and reason.replace("vllm", "triton_vllm", 1)


@engine(
    "triton_vllm",
    environments={"cuda": "tritonserver"},
    dialect=Dialect(
        prompt_logprobs="none",
        chunk_tokens="added",
        form="text_input",
        prompts="text",
        completions="/v2/models/served/generate",
        streams="/v2/models/served/generate_stream",
        health="/v2/health/ready",
        statistics="/v2/models/served/stats",
        metrics="/metrics",
    ),
    unsupported=unsupported,
    refused=refused,
    batches=batches,
)
def triton_vllm(
    serving: Serving,
    *,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    gpu_memory_utilization: Annotated[float, Range(0.05, 1.0)] = 0.9,
    kv_cache_gib: Annotated[int, Range(1, 65536)] | None = None,
    max_num_seqs: Annotated[int, Range(1, 4096)] | None = None,
    enforce_eager: bool | None = None,
    tensor_parallel: Ways = 1,
    pipeline_parallel: Ways = 1,
) -> Launch:
    """NVIDIA Triton with its vLLM backend (`tritonserver` on the PATH or in a container); prompts are text.

    What is None is vLLM's own; `kv_cache_gib` comes before `gpu_memory_utilization`.
    """
    metrics_port = free_port()
    chosen = {
        "max_num_seqs": max_num_seqs,
        "enforce_eager": enforce_eager,
        "kv_cache_memory_bytes": kv_cache_gib and kv_cache_gib * GIB,
    }
    settings = {
        "model": str(serving.checkpoint),
        "dtype": serving.dtype(dtype),
        "max_model_len": serving.max_model_len,
        "gpu_memory_utilization": gpu_memory_utilization,
        "enable_prefix_caching": False,  # repeats would come from it
        "tensor_parallel_size": tensor_parallel,
        "pipeline_parallel_size": pipeline_parallel,
        **{name: value for name, value in chosen.items() if value is not None},
    }
    flags = {
        "--model-repository": _repository(settings),
        "--exit-on-error": "true",
        "--http-address": "127.0.0.1",
        "--http-port": serving.port,
        "--allow-grpc": "false",
        "--allow-metrics": "true",
        "--metrics-address": "127.0.0.1",
        "--metrics-port": metrics_port,
    }
    variables = {"HF_HUB_OFFLINE": "1"}
    return Launch(arguments(flags), variables, ready_timeout_seconds=900, metrics_port=metrics_port)


def _repository(settings: Mapping[str, Any]) -> Path:
    """A model repository with the one model `served`: vLLM's arguments in `1/model.json`."""
    folder = cache_folder() / "triton-vllm" / digest(settings)[:16]
    version = folder / "served" / "1"
    version.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "served" / "config.pbtxt", CONFIG)
    write_whole(version / "model.json", json.dumps(settings, indent=1))
    return folder
