"""bitsandbytes: NF4 (Dettmers et al., arXiv 2305.14314) and LLM.int8 (arXiv 2208.07339)."""

from pathlib import Path
from typing import Any, Literal

from quant.checkpoints.tool_limits import bitsandbytes_refuses
from quant.registry import method
from quant.types import Scheme


def scheme(parameters: Any) -> Scheme:
    return Scheme("NF4") if parameters["scheme"] == "NF4" else Scheme("int8", "int8")


@method(
    "bitsandbytes",
    format="bitsandbytes",
    environment="transformers",
    scheme=scheme,
    unsupported_model=bitsandbytes_refuses,
)
def bitsandbytes(model: Path, out: Path, *, scheme: Literal["NF4", "LLM_INT8"] = "NF4") -> None:
    """NF4 in blocks of 64, or LLM.int8 (weights per row, activations per token, outliers in float16).

    Args:
        scheme: NF4 in blocks of 64, or INT8 with outliers in float16. Tool's own: none; of its 4-bit types FP4.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    from quant.tools.tokenizer import copy_tokenizer

    settings = BitsAndBytesConfig(
        load_in_4bit=scheme == "NF4",
        load_in_8bit=scheme == "LLM_INT8",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.float32,
    )
    loaded = AutoModelForCausalLM.from_pretrained(
        model,
        quantization_config=settings,
        dtype=torch.float16,  # what is not quantized is stored in it
        device_map="auto" if torch.cuda.is_available() else "cpu",
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
    )
    loaded.save_pretrained(out)
    copy_tokenizer(model, out)
