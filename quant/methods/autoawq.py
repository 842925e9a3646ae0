"""AWQ (Lin et al., arXiv 2306.00978) by AutoAWQ, archived in 2025: what most AWQ checkpoints were made by."""

from pathlib import Path
from typing import Any

from quant.registry import method
from quant.types import Calibration, GroupSize, Scheme


def scheme(parameters: Any) -> Scheme:
    return Scheme("int4", "float16", parameters["group_size"] or None, symmetric=False)


@method("autoawq", format="awq", environment="autoawq", scheme=scheme)
def autoawq(
    model: Path,
    out: Path,
    calibration: Calibration,
    *,
    group_size: GroupSize = 128,
    clip: bool = True,
    duo_scaling: bool = True,
) -> None:
    """AWQ by AutoAWQ: W4A16 with zero points in the format awq (gemm).

    Args:
        group_size: weights that share one scale along the input dimension; 0: one scale for each output
            channel. Tool's own: 128.
        clip: whether the largest weights are clipped, as far as the output error falls. Tool's own: true.
        duo_scaling: whether scales are chosen by activations and weights; if not, by activations alone. Tool's
            own: true.
    """
    from quant.tools.autoawq import quantize

    quantize(model, out, calibration, group_size=group_size, clip=clip, duo_scaling=duo_scaling)
