"""OpenVINO GenAI's continuous batching behind our thin server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from engines.registry import engine
from engines.runtime.entry_points import OPENVINO_SERVER
from engines.servers.transformers import THIN, read_facts
from engines.types import Device, Launch, Serving
from quant.types import Range, Scheme


def unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]) -> str | None:
    """OpenVINO GenAI loads OpenVINO's own format alone."""
    if checkpoint_format == "openvino":
        return None
    return f"openvino loads its own format, not {checkpoint_format} (the method openvino)"


@engine(
    "openvino",
    environments={"cpu": "openvino"},
    dialect=replace(THIN, top_tokens=0),  # the pipeline tells of the chosen token alone
    unsupported=unsupported,
    read_facts=read_facts,
)
def openvino(
    serving: Serving,
    *,
    kv_cache_dtype: Literal["f32", "f16", "bf16", "u8"] = "f32",
    kv_cache_gib: Annotated[int, Range(1, 1024)] = 1,
) -> Launch:
    """OpenVINO GenAI with continuous batching on a CPU; its own default for the KV cache, u8, is an option here."""
    command = (
        "-m",
        OPENVINO_SERVER,
        "--model",
        str(serving.checkpoint),
        "--port",
        str(serving.port),
        "--threads",
        str(serving.threads),
        "--max-model-len",
        str(serving.max_model_len),
        "--kv-cache-gib",
        str(kv_cache_gib),
        "--kv-cache-dtype",
        kv_cache_dtype,
    )
    return Launch(command, {"BITFRONTIER_API_KEY": serving.api_key, "TOKENIZERS_PARALLELISM": "false"})
