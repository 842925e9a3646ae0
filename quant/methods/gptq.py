"""GPTQ (Frantar et al., arXiv 2210.17323)."""

from pathlib import Path
from typing import Annotated, Literal

from quant.registry import method
from quant.types import Calibration, Range, weight_only


@method("gptq", format="compressed-tensors", environment="llmcompressor", scheme=weight_only)
def gptq(
    model: Path,
    out: Path,
    calibration: Calibration,
    *,
    bits: Literal[4, 8] = 4,
    group_size: int = 64,
    symmetric: bool = True,
    dampening_fraction: Annotated[float, Range(0.0, 1.0)] = 0.01,
) -> None:
    """W4A16 or W8A16 whose rounding errors are made up for by the weights not yet rounded."""
    from llmcompressor.modifiers.gptq import GPTQModifier

    from quant.tools.llmcompressor import compress, weight_only

    group = weight_only(bits, group_size, symmetric=symmetric)
    modifier = GPTQModifier(config_groups={"group_0": group}, ignore=["lm_head"], dampening_frac=dampening_fraction)
    compress(model, out, [modifier], calibration)
