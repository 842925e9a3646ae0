"""What a tool leaves unquantized is stored in float16, as every method here does, so that sizes can be compared."""

from __future__ import annotations

import json
from pathlib import Path


def store_rest_in_float16(out: Path) -> None:
    """Cast float32 weights, biases and GPTQ's scales of the safetensors in `out`, and say so in its configuration."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    for file in out.glob("*.safetensors"):
        tensors = load_file(file)
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {"format": "pt"}  # torchao's says how tensors belong together
        rest = {
            name
            for name, tensor in tensors.items()
            if tensor.dtype == torch.float32 and name.endswith((".weight", ".bias", ".scales"))
        }
        cast = {name: tensor.to(torch.float16) if name in rest else tensor for name, tensor in tensors.items()}
        save_file(cast, file, metadata=metadata)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    (out / "config.json").write_text(json.dumps({**config, "dtype": "float16"}, indent=2) + "\n", encoding="utf-8")
