"""AWQ: activation-aware weight quantization (Lin et al., arXiv 2306.00978)."""

from pathlib import Path
from typing import Annotated, Any

from quant.checkpoints.tool_limits import awq_refuses
from quant.registry import method
from quant.types import Calibration, GroupSize, Range, Scheme


def scheme(parameters: Any) -> Scheme:
    return Scheme("int4", "float16", parameters["group_size"] or None, parameters["symmetric"])


@method(
    "awq",
    format="compressed-tensors",
    environment="llmcompressor",
    scheme=scheme,
    unsupported_model=awq_refuses,
    version=2,
)
def awq(
    model: Path,
    out: Path,
    calibration: Calibration,
    *,
    group_size: GroupSize = 128,
    symmetric: bool = False,
    n_grid: Annotated[int, Range(3, 100)] = 20,
) -> None:
    """W4A16 with channels scaled by how much their activations matter; the scale is the best of `n_grid` tried.

    Args:
        group_size: weights that share one scale along the input dimension; 0: one scale for each output
            channel. Tool's own: 128.
        symmetric: whether a group's range is centred on zero; if not, each group has a zero point.
        n_grid: how many scales are tried for each layer. Tool's own: 20.
    """
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier

    from quant.tools.llmcompressor import LEFT_ALONE, compress, weights_in_groups

    group = weights_in_groups(4, group_size, symmetric=symmetric)
    modifiers = [AWQModifier(n_grid=n_grid), QuantizationModifier(config_groups={"group_0": group}, ignore=LEFT_ALONE)]
    compress(model, out, modifiers, calibration)
