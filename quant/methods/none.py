"""The baseline: no quantization, only the type that the weights are stored in."""

from pathlib import Path
from typing import Any, Literal

from quant.registry import method
from quant.types import Scheme

NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def scheme(parameters: Any) -> Scheme:
    name = NAMES[parameters["dtype"]]
    return Scheme(name, name)


@method("none", format="safetensors", environment="llmcompressor", scheme=scheme)
def none(model: Path, out: Path, *, dtype: Literal["fp32", "bf16", "fp16"] = "fp16") -> None:
    """The unquantized baseline, cast to one type.

    Args:
        dtype: the type that all weights are cast to; all other cells of an engine are compared with it.
    """
    import torch

    from quant.tools.llmcompressor import load_source
    from quant.tools.tokenizer import copy_tokenizer

    loaded = load_source(model)
    loaded.to(getattr(torch, NAMES[dtype])).save_pretrained(out)
    copy_tokenizer(model, out)
