"""FP8 (E4M3) weights and activations: dynamic and static are different things and carry different labels."""

from pathlib import Path
from typing import Any, Literal

from quant.checkpoints.tool_limits import llmcompressor_refuses
from quant.registry import method
from quant.types import Calibration, Scheme


def scheme(parameters: Any) -> Scheme:
    static = parameters["scheme"] == "FP8"
    return Scheme("fp8", "fp8", static_activations=static, kv_cache="fp8" if parameters["kv_cache_fp8"] else None)


def calibrated(parameters: Any) -> bool:
    return parameters["scheme"] == "FP8" or bool(parameters["kv_cache_fp8"])


@method(
    "fp8",
    format="compressed-tensors",
    environment="llmcompressor",
    scheme=scheme,
    calibrated=calibrated,
    unsupported_model=llmcompressor_refuses,
    version=2,
)
def fp8(
    model: Path,
    out: Path,
    calibration: Calibration | None,
    *,
    scheme: Literal["FP8_DYNAMIC", "FP8"] = "FP8_DYNAMIC",
    kv_cache_fp8: bool = False,
) -> None:
    """FP8: per-channel weights with per-token activations, or static per-tensor scales from calibration.

    Args:
        scheme: activations scaled for each token while serving, or by calibration (FP8). Tool's own: none.
        kv_cache_fp8: whether scales for an FP8 KV cache are calibrated too. Tool's own: false.
    """
    from llmcompressor.modifiers.quantization import QuantizationModifier

    from quant.tools.llmcompressor import LEFT_ALONE, compress

    kv_cache = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}
    modifier = QuantizationModifier(
        targets=["Linear"], scheme=scheme, ignore=LEFT_ALONE, kv_cache_scheme=kv_cache if kv_cache_fp8 else None
    )
    compress(model, out, [modifier], calibration)
