"""torchao (https://github.com/pytorch/ao) through Transformers: those of its types that a CPU can write and read."""

from pathlib import Path
from typing import Annotated, Any, Literal

from quant.registry import method
from quant.types import Range, Scheme


def scheme(parameters: Any) -> Scheme:
    return {
        "int8": Scheme("int8", "float16"),
        "int8_dynamic": Scheme("int8", "int8"),
        "int4": Scheme("int4", "float16", parameters["group_size"], parameters["symmetric"]),
        "fp8": Scheme("fp8", "float16"),
    }[parameters["numbers"]]


@method("torchao", format="torchao", environment="transformers", scheme=scheme)
def torchao(
    model: Path,
    out: Path,
    *,
    numbers: Literal["int8", "int8_dynamic", "int4", "fp8"] = "int8",
    group_size: Annotated[int, Range(16, 1024)] = 64,
    symmetric: bool = False,
) -> None:
    """W8A16, W8A8, FP8 weights, or W4A16 kept a byte each (`group_size` and `symmetric`: of that one)."""
    from quant.tools.torchao import quantize

    quantize(model, out, numbers, group_size, symmetric=symmetric)
