"""Turning a GGUF file into a plain safetensors folder: `python -m quant.checkpoints.dequantize_gguf FILE.gguf OUT
EOS_TOKEN`.

Runs in the environment `transformers`. Transformers dequantizes a GGUF while loading, but refuses to save what came
from one; so the weights move into a fresh model of the same configuration, which is saved in float16.
"""

from __future__ import annotations

import sys
from pathlib import Path

from quant.no_remote_code import forbid_remote_code
from quant.progress import report


def dequantize(gguf: Path, out: Path, eos_token: str) -> None:
    """Write `out`: float16 safetensors, configuration, tokenizer. The file's own end token is replaced."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    report("dequantize", 0, 2)
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    report("dequantize", 1, 2)
    config = loaded.config
    del config.quantization_config
    config._name_or_path = gguf.stem
    with torch.device("meta"):
        fresh = type(loaded)(config)
    fresh.load_state_dict(loaded.state_dict(), assign=True)  # the same tensors: two copies are too many for 2 GiB
    fresh.tie_weights()
    fresh.generation_config = loaded.generation_config
    del loaded
    fresh.to(torch.float16).save_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.eos_token = eos_token
    tokenizer.save_pretrained(out)
    report("dequantize", 2, 2)


if __name__ == "__main__":
    forbid_remote_code()
    dequantize(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
