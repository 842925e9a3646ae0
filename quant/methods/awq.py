"""AWQ: activation-aware weight quantization (Lin et al., arXiv 2306.00978)."""

from pathlib import Path
from typing import Any

from quant.registry import method
from quant.spec import Calibration, Scheme


def scheme(parameters: Any) -> Scheme:
    return Scheme("int4", "float16", parameters["group_size"] or None, parameters["symmetric"])


@method("awq", format="compressed-tensors", environment="llmcompressor", scheme=scheme)
def awq(model: Path, out: Path, calibration: Calibration, *, group_size: int = 64, symmetric: bool = False) -> None:
    """W4A16 with channels scaled by how much their activations matter."""
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier

    from quant.oneshot import compress, weight_only

    group = weight_only(4, group_size, symmetric=symmetric)
    modifiers = [AWQModifier(), QuantizationModifier(config_groups={"group_0": group}, ignore=["lm_head"])]
    compress(model, out, modifiers, calibration)
