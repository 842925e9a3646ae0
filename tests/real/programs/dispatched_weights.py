"""A tiny model that llm-compressor leaves dispatched, as it does with a GPU: reading a weight gives a copy. Runs in the
environment `llmcompressor`; prints one line of JSON: the types of the tensors that were saved.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import llmcompressor
from compressed_tensors.offload import set_onload_device
from compressed_tensors.offload.cache.cpu import CPUCache
from safetensors import safe_open

from quant.methods.rtn import rtn
from tests.real.programs.transformed_models import write_model

ONESHOT = llmcompressor.oneshot


def dispatched(model: Any, **arguments: Any) -> None:
    ONESHOT(model=model, **arguments)
    CPUCache.onload = lambda self, tensor: None if tensor is None else tensor.clone()
    set_onload_device(model, "cpu")


def main() -> None:
    llmcompressor.oneshot = dispatched
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_model("Llama", folder / "model")
        (folder / "made").mkdir()
        rtn(folder / "model", folder / "made", scheme="W8A8")
        with safe_open(folder / "made" / "model.safetensors", "pt") as tensors:
            types = {name: str(tensors.get_slice(name).get_dtype()) for name in tensors.keys()}  # noqa: SIM118
    print("results " + json.dumps(types))


if __name__ == "__main__":
    main()
