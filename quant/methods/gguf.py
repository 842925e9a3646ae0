"""GGUF, llama.cpp's file format: converted from the source, then quantized by llama.cpp itself.

Formats: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and `enum llama_ftype` of llama.h.
"""

from pathlib import Path
from typing import Any, Literal

from quant.checkpoints.tool_limits import converter_refuses
from quant.registry import method
from quant.types import Scheme

# enum llama_ftype; a mixed type such as Q4_K_M names the type of most tensors, others get more bits
FILE_TYPES = {"Q4_0": 2, "Q8_0": 7, "Q2_K": 10, "Q3_K_M": 12, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}


def scheme(parameters: Any) -> Scheme:
    name = parameters["scheme"]
    return Scheme("float16", "float16") if name == "F16" else Scheme(name, "float16")


@method("gguf", format="gguf", environment="gguf", scheme=scheme, unsupported_model=converter_refuses)
def gguf(
    model: Path,
    out: Path,
    *,
    scheme: Literal["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K"] = "Q4_K_M",
) -> None:
    """llama.cpp's own types, without calibration; F16 is its unquantized baseline.

    Args:
        scheme: llama.cpp's file type; a mixed one such as Q4_K_M names that of most tensors. Tool's own: none.
    """
    from quant.tools.gguf import convert, quantize
    from quant.tools.tokenizer import copy_tokenizer

    if scheme == "F16":
        convert(model, out / "model.gguf")
    else:
        source = out / "f16.gguf"
        convert(model, source)
        quantize(source, out / "model.gguf", FILE_TYPES[scheme])
        source.unlink()
    copy_tokenizer(model, out)
