"""torchao (https://github.com/pytorch/ao) through Transformers: those of its types that a CPU can write and read."""

from pathlib import Path
from typing import Annotated, Any, Literal

from quant.checkpoints.tool_limits import torchao_refuses
from quant.registry import method
from quant.types import Range, Scheme

# what `quant.tools.torchao` calls them
CONFIGURATIONS = {"W8A16": "int8", "W8A8": "int8_dynamic", "W4A16": "int4", "FP8_WEIGHT_ONLY": "fp8"}


def scheme(parameters: Any) -> Scheme:
    return {
        "W8A16": Scheme("int8", "float16"),
        "W8A8": Scheme("int8", "int8"),
        "W4A16": Scheme("int4", "float16", parameters["group_size"], parameters["symmetric"]),
        "FP8_WEIGHT_ONLY": Scheme("fp8", "float16"),
    }[parameters["scheme"]]


@method("torchao", format="torchao", environment="transformers", scheme=scheme, unsupported_model=torchao_refuses)
def torchao(
    model: Path,
    out: Path,
    *,
    scheme: Literal["W8A16", "W8A8", "W4A16", "FP8_WEIGHT_ONLY"] = "W8A16",
    group_size: Annotated[int, Range(16, 1024)] = 128,
    symmetric: bool = False,
) -> None:
    """W8A16, W8A8, FP8 weights, or W4A16 kept a byte each (`group_size` and `symmetric`: of that one).

    Args:
        scheme: the type of the weights; W8A8 has INT8 activations too. Tool's own: none.
        group_size: weights that share one scale; of W4A16 alone. Tool's own: 128.
        symmetric: whether a group's range is centred on zero; of W4A16 alone; if not, each group has a zero
            point.
    """
    from quant.tools.torchao import quantize

    quantize(model, out, CONFIGURATIONS[scheme], group_size, symmetric=symmetric)
