"""Four-bit floats in blocks: NVFP4 (blocks of 16, an E4M3 scale each and one float32 for all) and MXFP4 (OCP
Microscaling Formats 1.0: blocks of 32, a power of two each).
"""

from pathlib import Path
from typing import Any, Literal

from quant.registry import method
from quant.types import Calibration, Scheme

BLOCKS = {"nvfp4": 16, "mxfp4": 32}


def scheme(parameters: Any) -> Scheme:
    name = parameters["type"].upper() + ("" if parameters["activations"] == "same" else "A16")
    activations = parameters["type"] if parameters["activations"] == "same" else "float16"
    return Scheme(name, activations, BLOCKS[parameters["type"]])


def calibrated(parameters: Any) -> bool:
    return bool(parameters["type"] == "nvfp4" and parameters["activations"] == "same")


@method("fp4", format="compressed-tensors", environment="llmcompressor", scheme=scheme, calibrated=calibrated)
def fp4(
    model: Path,
    out: Path,
    calibration: Calibration | None,
    *,
    type: Literal["nvfp4", "mxfp4"] = "nvfp4",
    activations: Literal["same", "float16"] = "float16",
) -> None:
    """NVFP4 or MXFP4 weights, rounded to nearest; with `activations: same` those are four-bit floats too."""
    from llmcompressor.modifiers.quantization import QuantizationModifier

    from quant.tools.llmcompressor import compress

    preset = type.upper() + ("" if activations == "same" else "A16")
    compress(model, out, [QuantizationModifier(targets=["Linear"], scheme=preset, ignore=["lm_head"])], calibration)
