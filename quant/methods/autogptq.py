"""GPTQ (Frantar et al., arXiv 2210.17323) by AutoGPTQ, archived in 2025: what most GPTQ checkpoints were made by."""

from pathlib import Path
from typing import Annotated, Literal

from quant.registry import method
from quant.types import Calibration, GroupSize, Range, weight_only


def unsupported(device: str) -> str | None:
    return None if device == "cuda" else "AutoGPTQ 0.7.1 quantizes on a CUDA device alone (gptqmodel continues it)"


@method("autogptq", format="gptq", environment="autogptq", scheme=weight_only, unsupported=unsupported)
def autogptq(
    model: Path,
    out: Path,
    calibration: Calibration,
    *,
    scheme: Literal["W4A16", "W8A16"] = "W4A16",
    group_size: GroupSize = 128,
    symmetric: bool = True,
    actorder: bool = False,
    dampening_frac: Annotated[float, Range(0.0, 1.0)] = 0.01,
) -> None:
    """GPTQ by AutoGPTQ 0.7.1, in groups and in order, which are not its own defaults; on a CUDA device alone.

    Args:
        scheme: bits of the weights, 4 or 8; activations stay in 16 bits. Tool's own: W4A16.
        group_size: weights that share one scale along the input dimension; 0: one scale for each output
            channel. Tool's own: -1, which is our 0.
        symmetric: whether a group's range is centred on zero; if not, each group has a zero point. Tool's own:
            true.
        actorder: whether columns are quantized in the order of their activations' size. Tool's own: true.
        dampening_frac: share of the Hessian's mean diagonal that is added to it, so that it can be inverted.
            Tool's own: 0.01.
    """
    from quant.tools.autogptq import quantize

    settings = {
        "bits": int(scheme[1]),
        "group_size": group_size or -1,
        "sym": symmetric,
        "desc_act": actorder,
        "damp_percent": dampening_frac,
    }
    quantize(model, out, calibration, settings)
