"""Loading a checkpoint folder into Transformers: safetensors only, no remote code, and no silently missing weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, GenerationConfig


@dataclass(frozen=True)
class Loaded:
    """A model ready for inference, its tokenizer, the ids that end a text, and facts for the record."""

    model: Any
    tokenizer: Tokenizer
    stop_ids: frozenset[int]
    vocabulary: int
    facts: dict[str, str | int]


def load(folder: str, device: str, dtype: str) -> Loaded:
    """Load `folder`. Raises ValueError where tensors are missing, unexpected or of another shape."""
    model, report = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype="auto" if dtype == "auto" else getattr(torch, dtype),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    problems = {key: sorted(map(str, names))[:5] for key, names in report.items() if names}
    if problems:
        raise ValueError(f"{folder} does not fit its own configuration: {problems}")
    model.eval().to(device)
    with torch.inference_mode():  # compressed layers are unpacked by the first pass; what they hold then is what counts
        model(torch.zeros((1, 1), dtype=torch.long, device=device))
    facts = {
        "version": transformers.__version__,
        "torch": torch.__version__,
        "dtype": str(model.dtype).removeprefix("torch."),
        "weights_bytes": _weights_bytes(model),
        "kernel": _kernel(model),
    }
    return Loaded(
        model, Tokenizer.from_file(f"{folder}/tokenizer.json"), _stop_ids(folder), model.config.vocab_size, facts
    )


def _weights_bytes(model: Any) -> int:
    tensors = {t.data_ptr(): t.nbytes for t in [*model.parameters(), *model.buffers()]}
    return sum(tensors.values())


def _kernel(model: Any) -> str:
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return "torch linear, unquantized"
    return "torch linear on dequantized weights, quantization emulated"


def _stop_ids(folder: str) -> frozenset[int]:
    config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    ids = config.eos_token_id
    return frozenset(ids if isinstance(ids, list) else [] if ids is None else [ids])
