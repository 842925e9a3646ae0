"""NVIDIA ModelOpt's formats, which TensorRT-LLM reads, and vLLM and SGLang in part."""

from pathlib import Path
from typing import Annotated, Any, Literal

from quant.registry import method
from quant.types import Calibration, Range, Scheme


def scheme(parameters: Any) -> Scheme:
    size = parameters["group_size"]
    return {
        "fp8": Scheme("fp8", "fp8", static_activations=True),
        "int8_sq": Scheme("int8", "int8", static_activations=True),
        "int4_awq": Scheme("int4", "float16", size),
        "w4a8_awq": Scheme("int4", "fp8", size, static_activations=True),
        "nvfp4": Scheme("NVFP4", "nvfp4", 16),
    }[parameters["numbers"]]


@method("modelopt", format="modelopt", environment="modelopt", scheme=scheme)
def modelopt(
    model: Path,
    out: Path,
    calibration: Calibration,
    *,
    numbers: Literal["fp8", "int8_sq", "int4_awq", "w4a8_awq", "nvfp4"] = "fp8",
    group_size: int = 64,
    strength: Annotated[float, Range(0.0, 1.0)] = 0.5,
) -> None:
    """FP8, INT8 SmoothQuant (of a `strength`), INT4 AWQ, W4A8 (both in groups), or NVFP4 by NVIDIA ModelOpt."""
    from quant.tools.modelopt import quantize

    quantize(model, out, calibration, numbers, group_size, strength)
