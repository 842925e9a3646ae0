from __future__ import annotations

import pytest

from quant.registry import methods
from quant.types import Architecture

LLM_COMPRESSOR = ("rtn", "gptq", "awq", "smoothquant", "fp8", "fp4")


@pytest.mark.parametrize(
    ("method", "name", "reason"),
    [
        *((method, "GPT2LMHeadModel", "of the class Linear alone") for method in LLM_COMPRESSOR),
        *((method, "FalconForCausalLM", "of the class Linear alone") for method in LLM_COMPRESSOR),
        *((method, "Llama4ForCausalLM", "does not load Llama4ForCausalLM") for method in LLM_COMPRESSOR),
        ("torchao", "GPT2LMHeadModel", "are Conv1D"),
        *(
            (method, name, f"has no mapping that preserves {name}; use rtn or gptq")
            for method in ("awq", "smoothquant")
            for name in ("GPTNeoXForCausalLM", "OPTForCausalLM", "Olmo2ForCausalLM", "Lfm2ForCausalLM")
        ),
        ("smoothquant", "Gemma3ForCausalLM", "SmoothQuant has no mapping"),
        ("awq", "MixtralForCausalLM", "AWQ has no mapping"),
        ("torchao", "FalconForCausalLM", "transposes its weights as it computes"),
        ("torchao", "GPTNeoXForCausalLM", "leaves the head of GPTNeoXForCausalLM in float16"),
        ("openvino", "Gemma3ForCausalLM", "optimum-intel 2.2.0 does not export Gemma3ForCausalLM"),
        ("openvino", "FalconH1ForCausalLM", "does not export FalconH1ForCausalLM"),
        ("gguf", "Gemma2ForCausalLM", "reads the tokenizer of Gemma2ForCausalLM from tokenizer.model"),
        ("gguf", "GPTJForCausalLM", "does not know GPTJForCausalLM"),
        ("gguf", "DeepseekV3ForCausalLM", "fails for DeepseekV3ForCausalLM: its package gguf is older"),
    ],
)
def test_a_method_says_which_architectures_it_does_not_quantize(method: str, name: str, reason: str) -> None:
    assert reason in str(methods()[method].unsupported_model(Architecture(name)))


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Qwen3ForCausalLM", ""])
def test_no_method_refuses_what_it_quantizes(name: str) -> None:
    assert {method.unsupported_model(Architecture(name)) for method in methods().values()} == {None}


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("none", "GPT2LMHeadModel"),
        ("gguf", "GPT2LMHeadModel"),
        ("awq", "Gemma3ForCausalLM"),
        ("smoothquant", "MixtralForCausalLM"),
        ("rtn", "OPTForCausalLM"),
        ("torchao", "OPTForCausalLM"),
        ("gguf", "Gemma3ForCausalLM"),
        ("openvino", "FalconForCausalLM"),
    ],
)
def test_a_limit_is_of_one_tool(method: str, name: str) -> None:
    assert methods()[method].unsupported_model(Architecture(name)) is None


@pytest.mark.parametrize("method", ["torchao", "bitsandbytes"])
def test_experts_in_one_tensor_are_no_linear_layers(method: str) -> None:
    experts = Architecture("Qwen3MoeForCausalLM", experts=True)
    assert "the experts of Qwen3MoeForCausalLM are one tensor" in str(methods()[method].unsupported_model(experts))


def test_the_converter_takes_sentencepiece_where_it_is_there() -> None:
    assert methods()["gguf"].unsupported_model(Architecture("Gemma2ForCausalLM", sentencepiece=True)) is None
    phi, gguf = "Phi3ForCausalLM", methods()["gguf"]
    assert "tokenizer of Phi3ForCausalLM from tokenizer.model" in str(gguf.unsupported_model(Architecture(phi)))
    assert gguf.unsupported_model(Architecture(phi, gpt2_tokenizer=True)) is None
