"""SmoothQuant (Xiao et al., arXiv 2211.10438), then INT8 W8A8."""

from pathlib import Path
from typing import Annotated, Any

from quant.checkpoints.tool_limits import smoothquant_refuses
from quant.registry import method
from quant.types import Calibration, Range, Scheme


def scheme(parameters: Any) -> Scheme:
    return Scheme("int8", "int8")


@method(
    "smoothquant",
    format="compressed-tensors",
    environment="llmcompressor",
    scheme=scheme,
    unsupported_model=smoothquant_refuses,
    version=2,
)
def smoothquant(
    model: Path, out: Path, calibration: Calibration, *, smoothing_strength: Annotated[float, Range(0.0, 1.0)] = 0.8
) -> None:
    """INT8 W8A8 after moving activation outliers into the weights: per-channel weights, per-token activations.

    Args:
        smoothing_strength: how much of the activations' outliers moves into the weights. Tool's own: 0.5.
    """
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    from quant.tools.llmcompressor import LEFT_ALONE, compress

    modifiers = [
        SmoothQuantModifier(smoothing_strength=smoothing_strength),
        QuantizationModifier(targets=["Linear"], scheme="W8A8", ignore=LEFT_ALONE),
    ]
    compress(model, out, modifiers, calibration)
