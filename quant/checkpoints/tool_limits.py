"""Architectures that tools do not quantize. Each was tried with a small model of random weights and the tool's pinned
version; what was not tried is left to the checks of what was made. Standard library only.
"""

from __future__ import annotations

from quant.types import Architecture

# whose layers are Transformers' Conv1D, which is no torch.nn.Linear
CONV1D = ("GPT2LMHeadModel", "OpenAIGPTLMHeadModel")
# whose layers are of a class that is made of Linear: tools that go by the class's name step over them
DERIVED_LINEAR = ("FalconForCausalLM",)
UNREADABLE = (
    "Llama4ForCausalLM",
)  # llm-compressor 0.14 looks for the part about text in a configuration of text alone
# llm-compressor has no mapping of norms and layers, or one that changes what the model computes
NO_MAPPING = (
    "ApertusForCausalLM",
    "ArceeForCausalLM",
    "BambaForCausalLM",
    "CodeGenForCausalLM",
    "FalconForCausalLM",
    "FalconH1ForCausalLM",
    "FalconMambaForCausalLM",
    "GPTBigCodeForCausalLM",
    "GPTJForCausalLM",
    "GPTNeoXForCausalLM",
    "Glm4ForCausalLM",
    "Glm4MoeForCausalLM",
    "GlmForCausalLM",
    "GptOssForCausalLM",
    "GraniteMoeForCausalLM",
    "JambaForCausalLM",
    "Lfm2ForCausalLM",
    "Mamba2ForCausalLM",
    "MambaForCausalLM",
    "MptForCausalLM",
    "NemotronForCausalLM",
    "OPTForCausalLM",
    "Olmo2ForCausalLM",
    "OlmoeForCausalLM",
    "PhiForCausalLM",
    "Qwen3NextForCausalLM",
    "RecurrentGemmaForCausalLM",
    "Starcoder2ForCausalLM",
)
NO_SMOOTHQUANT = (
    *NO_MAPPING,
    "Exaone4ForCausalLM",
    "Gemma2ForCausalLM",
    "Gemma3ForCausalLM",
    "Olmo3ForCausalLM",
    "OlmoForCausalLM",
)
NO_AWQ = (
    *NO_MAPPING,
    "BloomForCausalLM",
    "DeepseekV2ForCausalLM",
    "DeepseekV3ForCausalLM",
    "MixtralForCausalLM",
    "Qwen2MoeForCausalLM",
)


def torchao_refuses(architecture: Architecture) -> str | None:
    """Why torchao quantizes no layer of an architecture, or None."""
    if architecture.name in CONV1D:
        return f"torchao quantizes linear layers alone, and those of {architecture.name} are Conv1D"
    return None


def llmcompressor_refuses(architecture: Architecture) -> str | None:
    """Why llm-compressor quantizes no layer of an architecture, or None."""
    name = architecture.name
    if name in (*CONV1D, *DERIVED_LINEAR):
        return f"llm-compressor quantizes layers of the class Linear alone, and those of {name} are of another"
    if name in UNREADABLE:
        return f"llm-compressor does not load {name} (it looks for a text_config); use gptqmodel or gguf"
    return None


def smoothquant_refuses(architecture: Architecture) -> str | None:
    """Why llm-compressor's SmoothQuant cannot transform an architecture, or None."""
    return llmcompressor_refuses(architecture) or _no_mapping("SmoothQuant", NO_SMOOTHQUANT, architecture)


def awq_refuses(architecture: Architecture) -> str | None:
    """Why llm-compressor's AWQ cannot transform an architecture, or None."""
    return llmcompressor_refuses(architecture) or _no_mapping("AWQ", NO_AWQ, architecture)


def _no_mapping(transform: str, names: tuple[str, ...], architecture: Architecture) -> str | None:
    if architecture.name not in names:
        return None
    return f"llm-compressor's {transform} has no mapping that preserves {architecture.name}; use rtn or gptq"
