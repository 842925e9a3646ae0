"""GPTQ (Frantar et al., arXiv 2210.17323) by GPTQModel, in the format that AutoGPTQ began."""

from pathlib import Path
from typing import Annotated, Literal

from quant.registry import method
from quant.types import Calibration, GroupSize, Range, weight_only


@method("gptqmodel", format="gptq", environment="gptqmodel", scheme=weight_only)
def gptqmodel(
    model: Path,
    out: Path,
    calibration: Calibration,
    *,
    scheme: Literal["W4A16", "W8A16"] = "W4A16",
    group_size: GroupSize = 128,
    symmetric: bool = True,
    actorder: bool = False,
    dampening_frac: Annotated[float, Range(0.0, 1.0)] = 0.05,
) -> None:
    """GPTQ by GPTQModel: W4A16 or W8A16 in the format gptq.

    Args:
        scheme: bits of the weights, 4 or 8; activations stay in 16 bits.
        group_size: weights that share one scale along the input dimension; 0: one scale for each output
            channel.
        symmetric: whether a group's range is centred on zero; if not, each group has a zero point.
        actorder: whether columns are quantized in the order of their activations' size.
        dampening_frac: share of the Hessian's mean diagonal that is added to it, so that it can be inverted.
    """
    from quant.tools.gptqmodel import quantize

    settings = {
        "bits": int(scheme[1]),
        "group_size": group_size or -1,
        "sym": symmetric,
        "desc_act": actorder,
        "damp_percent": dampening_frac,
    }
    quantize(model, out, calibration, settings)
