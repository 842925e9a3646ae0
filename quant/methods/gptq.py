"""GPTQ (Frantar et al., arXiv 2210.17323)."""

from pathlib import Path
from typing import Annotated, Literal

from quant.checkpoints.tool_limits import llmcompressor_refuses
from quant.registry import method
from quant.types import Calibration, GroupSize, Range, weight_only


@method(
    "gptq",
    format="compressed-tensors",
    environment="llmcompressor",
    scheme=weight_only,
    unsupported_model=llmcompressor_refuses,
    version=2,
)
def gptq(
    model: Path,
    out: Path,
    calibration: Calibration,
    *,
    scheme: Literal["W4A16", "W8A16"] = "W4A16",
    group_size: GroupSize = 128,
    symmetric: bool = True,
    dampening_frac: Annotated[float, Range(0.0, 1.0)] = 0.01,
) -> None:
    """W4A16 or W8A16 whose rounding errors are made up for by the weights not yet rounded.

    Args:
        scheme: bits of the weights, 4 or 8; activations stay in 16 bits. Tool's own: none.
        group_size: weights that share one scale along the input dimension; 0: one scale for each output
            channel. Tool's own: 128.
        symmetric: whether a group's range is centred on zero; if not, each group has a zero point. Tool's own:
            true.
        dampening_frac: share of the Hessian's mean diagonal that is added to it, so that it can be inverted.
            Tool's own: 0.01.
    """
    from llmcompressor.modifiers.gptq import GPTQModifier

    from quant.tools.llmcompressor import LEFT_ALONE, compress, weights_in_groups

    group = weights_in_groups(int(scheme[1]), group_size, symmetric=symmetric)
    modifier = GPTQModifier(config_groups={"group_0": group}, ignore=LEFT_ALONE, dampening_frac=dampening_frac)
    compress(model, out, [modifier], calibration)
