"""DeepSpeed-Inference behind our thin server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from engines.registry import engine
from engines.runtime.entry_points import DEEPSPEED_SERVER
from engines.servers.transformers import THIN, read_facts, thin_command, thin_variables, unsupported_model
from engines.types import Device, Launch, Serving
from quant.types import Range, Scheme


def unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]) -> str | None:
    """DeepSpeed-Inference wraps the module that Transformers loads; only unquantized ones make sense in it."""
    if checkpoint_format == "safetensors":
        return None
    return f"deepspeed serves unquantized safetensors, not {checkpoint_format}: Transformers would emulate its layers"


def refused(options: Mapping[str, Any], device: Device) -> str | None:
    """What DeepSpeed would take without a word and then not do (0.19.8, its inference/engine.py)."""
    if options["quant"]:
        return "DeepSpeed-Inference ignores its `quant` settings where it injects no kernels, and here it injects none"
    if options["kernel_inject"]:
        if device.kind == "cpu":
            return "DeepSpeed has no kernels for a CPU: without them it is the plain module"
        return "layers with DeepSpeed's kernels keep a KV cache of their own, which our server's batching cannot fill"
    return None


@engine(
    "deepspeed",
    environments={"cpu": "deepspeed", "cuda": "deepspeed"},
    dialect=THIN,
    unsupported=unsupported,
    unsupported_model=unsupported_model,
    refused=refused,
    read_facts=read_facts,
)
def deepspeed(
    serving: Serving,
    *,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    max_batch: Annotated[int, Range(1, 4096)] = 64,
    kernel_inject: bool = False,
    quant: bool = False,
) -> Launch:
    """DeepSpeed-Inference around Transformers; without its kernels it is the plain module, and says so."""
    command = thin_command(DEEPSPEED_SERVER, serving, dtype, max_batch)
    return Launch(
        command, thin_variables(serving) | ({"DS_ACCELERATOR": "cpu"} if serving.device.kind == "cpu" else {})
    )
