"""GPTQ (Frantar et al., arXiv 2210.17323) by AutoGPTQ, archived in 2025: what most GPTQ checkpoints were made by."""

from pathlib import Path
from typing import Annotated, Literal

from quant.registry import method
from quant.types import Calibration, Range, weight_only


def unsupported(device: str) -> str | None:
    return None if device == "cuda" else "AutoGPTQ 0.7.1 quantizes on a CUDA device alone (gptqmodel goes on from it)"


@method("autogptq", format="gptq", environment="autogptq", scheme=weight_only, unsupported=unsupported)
def autogptq(
    model: Path,
    out: Path,
    calibration: Calibration,
    *,
    bits: Literal[4, 8] = 4,
    group_size: int = 64,
    symmetric: bool = True,
    activation_order: bool = False,
    dampening_fraction: Annotated[float, Range(0.0, 1.0)] = 0.01,
) -> None:
    """GPTQ by AutoGPTQ 0.7.1, with that tool's defaults; on a CUDA device alone."""
    from quant.tools.autogptq import quantize

    settings = {
        "bits": bits,
        "group_size": group_size or -1,
        "sym": symmetric,
        "desc_act": activation_order,
        "damp_percent": dampening_fraction,
    }
    quantize(model, out, calibration, settings)
