from __future__ import annotations

from typing import Any

import pytest

from quant.checkpoints.suitability import unsuitable

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": False}
WEIGHTS = {"model.embed_tokens.weight": "a.safetensors", "lm_head.weight": "b.safetensors"}
FILES = ["a.safetensors", "b.safetensors"]
CODE = {"AutoConfig": "configuration_my.MyConfig", "AutoModelForCausalLM": "modeling_my.MyForCausalLM"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"auto_map": CODE, "model_type": "my"},
            "needs code of its own (configuration_my.MyConfig, named by auto_map)",
        ),
        ({"auto_map": CODE}, "remove auto_map from config.json"),  # also where Transformers knows the type
        ({"auto_map": {"AutoTokenizer": ["tokenizer_my.Slow", None]}}, "tokenizer_my.Slow"),
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "is an encoder-decoder"),
        ({"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM has no language-model head"),
        ({"architectures": ["Qwen3ForSequenceClassification"]}, "Qwen3ForSequenceClassification has no language-model"),
        ({"architectures": ["Qwen2ForRewardModel"]}, "Qwen2ForRewardModel has no language-model head"),
        ({"architectures": ["LlamaModel"]}, "LlamaModel has no language-model head"),
        (
            {"architectures": ["Gemma3ForConditionalGeneration"], "vision_config": {"hidden_size": 8}},
            "Gemma3ForConditionalGeneration reads more than text (vision_config)",
        ),
        ({"architectures": ["LlavaLlamaForCausalLM"], "mm_vision_tower": "clip"}, "reads more than text"),
    ],
)
def test_what_is_no_language_model_for_itself_is_unsuitable(change: dict[str, Any], reason: str) -> None:
    assert reason in str(unsuitable({**LLAMA, **change}, WEIGHTS, FILES))


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPT2LMHeadModel", "FalconMambaForCausalLM", ""])
def test_language_models_are_suitable(name: str) -> None:
    assert unsuitable({**LLAMA, "architectures": [name] if name else None}, WEIGHTS, FILES) is None


def test_a_shard_that_is_missing_is_named() -> None:
    assert "names b.safetensors, which is not in the folder" in str(unsuitable(LLAMA, WEIGHTS, FILES[:1]))


@pytest.mark.parametrize(
    "head", ["lm_head.weight", "embed_out.weight", "output.weight", "transformer.output_layer.weight"]
)
def test_a_head_has_one_of_several_names(head: str) -> None:
    body = {"model.embed_tokens.weight": "a.safetensors"}
    assert unsuitable(LLAMA, {**body, head: "a.safetensors"}, FILES) is None
    assert "has no weights of a language-model head" in str(unsuitable(LLAMA, body, FILES))


@pytest.mark.parametrize("tied", [{"tie_word_embeddings": True}, {"tie_word_embeddings": None}])
def test_a_head_that_is_the_embedding_needs_no_weights(tied: dict[str, Any]) -> None:
    """Where the configuration says nothing, the architecture decides."""
    assert unsuitable({**LLAMA, **tied}, {"model.embed_tokens.weight": "a.safetensors"}, FILES) is None


def test_what_is_not_downloaded_yet_is_judged_by_its_configuration() -> None:
    assert unsuitable(LLAMA, {}, []) is None
    assert unsuitable({}, {}, []) is None
