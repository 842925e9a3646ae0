"""Four-bit floats in blocks: NVFP4 (blocks of 16, an E4M3 scale each and one float32 for all) and MXFP4 (OCP
Microscaling Formats 1.0: blocks of 32, a power of two each).
"""

from pathlib import Path
from typing import Any, Literal

from quant.checkpoints.tool_limits import llmcompressor_refuses
from quant.registry import method
from quant.types import Calibration, Scheme

BLOCKS = {"NVFP4": 16, "MXFP4": 32}


def scheme(parameters: Any) -> Scheme:
    name = parameters["scheme"]
    kind = name.removesuffix("A16")
    return Scheme(name, "float16" if name.endswith("A16") else kind.lower(), BLOCKS[kind])


def calibrated(parameters: Any) -> bool:
    return bool(parameters["scheme"] == "NVFP4")


@method(
    "fp4",
    format="compressed-tensors",
    environment="llmcompressor",
    scheme=scheme,
    calibrated=calibrated,
    unsupported_model=llmcompressor_refuses,
    version=2,
)
def fp4(
    model: Path,
    out: Path,
    calibration: Calibration | None,
    *,
    scheme: Literal["NVFP4", "NVFP4A16", "MXFP4", "MXFP4A16"] = "NVFP4A16",
) -> None:
    """NVFP4 or MXFP4 weights, rounded to nearest; without A16 activations are four-bit floats too.

    Args:
        scheme: the 4-bit float and what shares a scale: 16 weights (NVFP4) or 32 (MXFP4); A16: activations stay
            in 16 bits. Tool's own: none.
    """
    from llmcompressor.modifiers.quantization import QuantizationModifier

    from quant.tools.llmcompressor import LEFT_ALONE, compress

    compress(model, out, [QuantizationModifier(targets=["Linear"], scheme=scheme, ignore=LEFT_ALONE)], calibration)
