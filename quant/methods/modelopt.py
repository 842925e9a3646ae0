"""NVIDIA ModelOpt's formats, which TensorRT-LLM reads, and vLLM and SGLang in part."""

from pathlib import Path
from typing import Annotated, Any, Literal

from quant.registry import method
from quant.types import Calibration, GroupSize, Range, Scheme

# what the tool calls them
CONFIGURATIONS = {"FP8": "fp8", "W8A8": "int8_sq", "W4A16": "int4_awq", "W4A8": "w4a8_awq", "NVFP4": "nvfp4"}


def scheme(parameters: Any) -> Scheme:
    size = parameters["group_size"]
    return {
        "FP8": Scheme("fp8", "fp8", static_activations=True),
        "W8A8": Scheme("int8", "int8", static_activations=True),
        "W4A16": Scheme("int4", "float16", size),
        "W4A8": Scheme("int4", "fp8", size, static_activations=True),
        "NVFP4": Scheme("NVFP4", "nvfp4", 16),
    }[parameters["scheme"]]


@method("modelopt", format="modelopt", environment="modelopt", scheme=scheme)
def modelopt(
    model: Path,
    out: Path,
    calibration: Calibration,
    *,
    scheme: Literal["FP8", "W8A8", "W4A16", "W4A8", "NVFP4"] = "FP8",
    group_size: GroupSize = 128,
    smoothing_strength: Annotated[float, Range(0.0, 1.0)] = 0.5,
) -> None:
    """FP8, W8A8 by SmoothQuant, W4A16 and W4A8 by AWQ in groups, or NVFP4 by NVIDIA ModelOpt.

    Args:
        scheme: FP8, INT8 by SmoothQuant, 4-bit weights by AWQ with 16- or 8-bit activations, or NVFP4. Tool's
            own: none.
        group_size: weights that share one scale along the input dimension; of W4A16 and W4A8 alone.
        smoothing_strength: how much of the activations' outliers moves into the weights; of W8A8 alone. Tool's
            own: 1.0.
    """
    from quant.tools.modelopt import quantize

    quantize(model, out, calibration, CONFIGURATIONS[scheme], group_size, smoothing_strength)
