"""Round to nearest: the honest floor that every calibrated method has to beat."""

from pathlib import Path
from typing import Any, Literal

from quant.registry import method
from quant.types import Scheme


def scheme(parameters: Any) -> Scheme:
    if parameters["format"] == "w8a8":
        return Scheme("int8", "int8")
    bits = parameters["format"].removeprefix("w").removesuffix("a16")
    return Scheme(f"int{bits}", "float16", parameters["group_size"] or None, parameters["symmetric"])


@method("rtn", format="compressed-tensors", environment="llmcompressor", scheme=scheme)
def rtn(
    model: Path,
    out: Path,
    *,
    format: Literal["w4a16", "w8a16", "w8a8"] = "w4a16",
    group_size: int = 64,
    symmetric: bool = True,
) -> None:
    """Round-to-nearest without calibration data: W4A16 and W8A16 in groups, or INT8 W8A8."""
    from llmcompressor.modifiers.quantization import QuantizationModifier

    from quant.tools.llmcompressor import compress, weight_only

    if format == "w8a8":
        modifier = QuantizationModifier(targets=["Linear"], scheme="W8A8", ignore=["lm_head"])
    else:
        group = weight_only(4 if format == "w4a16" else 8, group_size, symmetric=symmetric)
        modifier = QuantizationModifier(config_groups={"group_0": group}, ignore=["lm_head"])
    compress(model, out, [modifier], None)
