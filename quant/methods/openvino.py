"""OpenVINO's format: exported by optimum-intel, weights compressed by NNCF."""

from pathlib import Path
from typing import Any, Literal

from quant.checkpoints.tool_limits import exporter_refuses
from quant.registry import method
from quant.types import Calibration, GroupSize, Scheme


def scheme(parameters: Any) -> Scheme:
    if parameters["scheme"] == "F16":
        return Scheme("float16", "float16")
    bits = 4 if parameters["scheme"] == "W4A16" else 8
    return Scheme(
        f"int{bits}", "float16", parameters["group_size"] or None if bits == 4 else None, parameters["symmetric"]
    )


def calibrated(parameters: Any) -> bool:
    return bool(parameters["scheme"] == "W4A16" and parameters["algorithm"] != "rtn")


@method(
    "openvino",
    format="openvino",
    environment="openvino",
    scheme=scheme,
    calibrated=calibrated,
    unsupported_model=exporter_refuses,
    version=2,
)
def openvino(
    model: Path,
    out: Path,
    calibration: Calibration | None,
    *,
    scheme: Literal["F16", "W8A16", "W4A16"] = "W4A16",
    group_size: GroupSize = 128,
    symmetric: bool = False,
    algorithm: Literal["rtn", "awq", "gptq"] = "rtn",
) -> None:
    """OpenVINO with weights in FP16 (its baseline), INT8 per channel, or INT4 in groups by NNCF.

    Args:
        scheme: FP16, INT8 for each channel, or INT4 in groups. Tool's own: W8A16.
        group_size: weights that share one scale along the input dimension; of W4A16 alone. Tool's own: 128.
        symmetric: whether a group's range is centred on zero; if not, each group has a zero point. Tool's own:
            false of INT8.
        algorithm: how the INT4 weights are chosen: rounded to nearest, by AWQ or by GPTQ. Tool's own: rtn.
    """
    from quant.tools.openvino import compress, export, save

    exported = export(model)
    if scheme != "F16":
        exported = compress(exported, int(scheme[1]), group_size, symmetric, algorithm, calibration)
    save(exported, model, out)
