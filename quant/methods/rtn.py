"""Round to nearest: the honest floor that every calibrated method has to beat."""

from pathlib import Path
from typing import Any, Literal

from quant.checkpoints.tool_limits import llmcompressor_refuses
from quant.registry import method
from quant.types import GroupSize, Scheme, weight_only


def scheme(parameters: Any) -> Scheme:
    if parameters["scheme"] == "W8A8":
        return Scheme("int8", "int8")
    return weight_only(parameters)


@method(
    "rtn",
    format="compressed-tensors",
    environment="llmcompressor",
    scheme=scheme,
    unsupported_model=llmcompressor_refuses,
    version=2,
)
def rtn(
    model: Path,
    out: Path,
    *,
    scheme: Literal["W4A16", "W8A16", "W8A8"] = "W4A16",
    group_size: GroupSize = 128,
    symmetric: bool = True,
) -> None:
    """Round-to-nearest without calibration data: W4A16 and W8A16 in groups, or INT8 W8A8.

    Args:
        scheme: bits of the weights, and of the activations with W8A8. Tool's own: none.
        group_size: weights that share one scale along the input dimension; 0: one scale for each output
            channel. Tool's own: 128 of 4 bits.
        symmetric: whether a group's range is centred on zero; if not, each group has a zero point. Tool's own:
            true.
    """
    from llmcompressor.modifiers.quantization import QuantizationModifier

    from quant.tools.llmcompressor import LEFT_ALONE, compress, weights_in_groups

    if scheme == "W8A8":
        modifier = QuantizationModifier(targets=["Linear"], scheme="W8A8", ignore=LEFT_ALONE)
    else:
        group = weights_in_groups(int(scheme[1]), group_size, symmetric=symmetric)
        modifier = QuantizationModifier(config_groups={"group_0": group}, ignore=LEFT_ALONE)
    compress(model, out, [modifier], None)
