"""Loading a checkpoint folder into Transformers: safetensors only, no remote code, and no silently missing weight."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM

from quant.no_remote_code import forbid_remote_code


def load(folder: str, device: str, dtype: str) -> tuple[Any, dict[str, str | int]]:
    """The model of `folder`, ready for inference, and facts for the record.

    Raises ValueError where tensors are missing, unexpected or of another shape.
    """
    forbid_remote_code()
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
    compressor, computes_in = getattr(getattr(model, "hf_quantizer", None), "compressor", None), model.dtype
    if compressor is not None:  # dequantize compressed-tensors layers now, else their first pass would
        compressor.decompress_model(model=model)  # what quantizes their activations stays
        model.to(computes_in)  # FP4 comes out as bfloat16
    model.eval().to(device)
    with torch.inference_mode():
        model(torch.zeros((1, 1), dtype=torch.long, device=device))
    plain = [part for parameter in [*model.parameters(), *model.buffers()] for part in _parts(parameter)]
    facts = {
        "version": transformers.__version__,
        "torch": torch.__version__,
        "dtype": str(model.dtype).removeprefix("torch."),
        "weights_bytes": sum({t.data_ptr(): t.nbytes for t in plain}.values()),
        "kernel": _kernel(model),
    }
    return model, facts


def _parts(tensor: Any) -> list[Any]:
    """torchao's tensors are made of plain ones: codes, scales, zero points."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()
    return [part for name in names for part in _parts(getattr(tensor, name))]


def _kernel(model: Any) -> str:
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return "torch linear, unquantized"
    own = sorted({type(layer).__name__ for layer in model.modules() if type(layer).__module__.startswith("gptqmodel.")})
    if own:
        return ", ".join(own)
    for name in ("bitsandbytes", "torchao"):
        if name in str(getattr(config, "quant_method", "")):
            return name
    return "torch linear on dequantized weights, quantization emulated"
