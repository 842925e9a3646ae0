"""NVIDIA Triton Inference Server with its Python backend, on a model repository of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from engines.registry import engine
from engines.runtime.entry_points import TRITON_SERVER
from engines.runtime.server import free_port
from engines.servers.transformers import THIN, thin_variables, unsupported_model
from engines.servers.transformers import read_facts as thin_facts
from engines.servers.transformers import unsupported as transformers_unsupported
from engines.types import Device, Launch, Serving
from quant.types import Range, Scheme

VERSION = re.compile(r"server_version\s*\|\s*(\S+)")


def unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]) -> str | None:
    """Its Python backend runs Transformers, so it reads what Transformers reads without further packages."""
    if checkpoint_format in ("bitsandbytes", "torchao", "gptq", "awq"):
        return f"triton (Python backend) has no reader of the format {checkpoint_format} in its environment"
    reason = transformers_unsupported(scheme, checkpoint_format, device, options)
    return reason and reason.replace("transformers", "triton (Python backend)", 1)


def read_facts(log: str) -> dict[str, str | int | float]:
    """What our model in it says of itself, and Triton's own version from the table that it prints."""
    facts = thin_facts(log)
    if match := VERSION.search(log):
        facts["version"] = match[1]
    return facts


@engine(
    "triton",
    environments={"cpu": "triton"},
    dialect=replace(
        THIN,
        form="kserve",
        key_field="key",
        completions="/v2/models/served/generate",
        streams="/v2/models/served/generate_stream",
        scores="/v2/models/served/generate",
        health="/v2/health/ready",
        statistics="/v2/models/served/stats",
    ),
    unsupported=unsupported,
    unsupported_model=unsupported_model,
    read_facts=read_facts,
    emulates=True,
)
def triton(
    serving: Serving,
    *,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    max_batch: Annotated[int, Range(1, 4096)] = 64,
) -> Launch:
    """NVIDIA Triton's own server; its Python backend runs Transformers with our continuous batching."""
    metrics_port = free_port()
    command = (
        "-m",
        TRITON_SERVER,
        "--model",
        str(serving.checkpoint),
        "--port",
        str(serving.port),
        "--metrics-port",
        str(metrics_port),
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
    return Launch(command, thin_variables(serving), metrics_port=metrics_port)
