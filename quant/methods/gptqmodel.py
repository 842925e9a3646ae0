"""GPTQ (Frantar et al., arXiv 2210.17323) by GPTQModel, in the format that AutoGPTQ began."""

from pathlib import Path
from typing import Annotated, Literal

from quant.registry import method
from quant.types import Calibration, Range, weight_only


@method("gptqmodel", format="gptq", environment="gptqmodel", scheme=weight_only)
def gptqmodel(
    model: Path,
    out: Path,
    calibration: Calibration,
    *,
    bits: Literal[4, 8] = 4,
    group_size: int = 64,
    symmetric: bool = True,
    activation_order: bool = False,
    dampening_fraction: Annotated[float, Range(0.0, 1.0)] = 0.05,
) -> None:
    """GPTQ by GPTQModel, with that tool's defaults: W4A16 or W8A16 in the format gptq."""
    from quant.tools.gptqmodel import quantize

    settings = {
        "bits": bits,
        "group_size": group_size or -1,
        "sym": symmetric,
        "desc_act": activation_order,
        "damp_percent": dampening_fraction,
    }
    quantize(model, out, calibration, settings)
