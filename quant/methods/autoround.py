"""AutoRound (Cheng et al., arXiv 2309.05516): rounding learnt by signed gradient descent, block by block."""

from pathlib import Path
from typing import Annotated, Literal

from quant.registry import method
from quant.types import Calibration, Range, weight_only


@method("autoround", format="compressed-tensors", environment="autoround", scheme=weight_only)
def autoround(
    model: Path,
    out: Path,
    calibration: Calibration,
    *,
    scheme: Literal["W4A16", "W8A16"] = "W4A16",
    group_size: Annotated[int, Range(16, 1024)] = 128,
    symmetric: bool = True,
    iterations: Annotated[int, Range(0, 2000)] = 200,
    learning_rate: Annotated[float, Range(1e-6, 1.0)] = 0.005,
) -> None:
    """W4A16 or W8A16 whose rounding is learnt; 0 `iterations` round to nearest with searched ranges.

    Args:
        scheme: bits of the weights, 4 or 8; activations stay in 16 bits.
        group_size: weights that share one scale along the input dimension.
        symmetric: whether a group's range is centred on zero; if not, each group has a zero point.
        iterations: steps by which the rounding is learnt; 0: round to nearest with searched ranges.
        learning_rate: how far one step moves the rounding.
    """
    from quant.tools.autoround import quantize

    # the tool's own rate is 1 / iterations: ruin for few of them (perplexity 105 instead of 28.6 at 4 and at 2)
    quantize(
        model,
        out,
        calibration,
        bits=int(scheme[1]),
        group_size=group_size,
        symmetric=symmetric,
        iterations=iterations,
        rate=learning_rate,
    )
