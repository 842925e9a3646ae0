"""OpenVINO's format: exported by optimum-intel, weights compressed by NNCF."""

from pathlib import Path
from typing import Any, Literal

from quant.registry import method
from quant.types import Calibration, Scheme


def scheme(parameters: Any) -> Scheme:
    if parameters["weights"] == "fp16":
        return Scheme("float16", "float16")
    group = parameters["group_size"] or None if parameters["weights"] == "int4" else None
    return Scheme(parameters["weights"], "float16", group, parameters["symmetric"])


def calibrated(parameters: Any) -> bool:
    return bool(parameters["weights"] == "int4" and parameters["algorithm"] != "rtn")


@method("openvino", format="openvino", environment="openvino", scheme=scheme, calibrated=calibrated)
def openvino(
    model: Path,
    out: Path,
    calibration: Calibration | None,
    *,
    weights: Literal["fp16", "int8", "int4"] = "int4",
    group_size: int = 64,
    symmetric: bool = False,
    algorithm: Literal["rtn", "awq", "gptq"] = "rtn",
) -> None:
    """OpenVINO with weights in FP16 (its baseline), INT8 per channel, or INT4 in groups by NNCF."""
    from quant.tools.openvino import compress, export, save

    exported = export(model)
    if weights != "fp16":
        bits = 8 if weights == "int8" else 4
        exported = compress(exported, bits, group_size, symmetric, algorithm, calibration)
    save(exported, model, out)
