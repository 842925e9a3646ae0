from __future__ import annotations

from typing import Any

import pytest

from quant.checkpoints.configuration import architecture_of, needs_bos, positions, vocabulary_size
from quant.types import Architecture

NESTED = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "text_config": {"vocab_size": 9, "max_position_embeddings": 64, "num_local_experts": 4},
}


@pytest.mark.parametrize(
    ("config", "experts", "recurrent"),
    [
        ({"num_attention_heads": 4}, False, False),
        ({"num_local_experts": 8}, True, False),
        ({"n_routed_experts": 64}, True, False),
        ({"ffn_config": {"moe_num_experts": 16}}, True, False),
        ({"moe_num_experts": [64, 64]}, True, False),
        ({"num_experts": 1}, False, False),
        ({"num_local_experts": None}, False, False),
        ({"mamba_d_state": 16}, False, True),
        ({"state_size": 16}, False, True),
        ({"conv_L_cache": 3}, False, True),
        ({"linear_num_value_heads": 4, "num_experts": 4}, True, True),
    ],
)
def test_experts_and_states_are_told_by_their_settings(config: dict[str, Any], experts: bool, recurrent: bool) -> None:
    named = {"architectures": ["XForCausalLM"], **config}
    assert architecture_of(named) == Architecture("XForCausalLM", experts, recurrent)


def test_a_language_model_may_be_nested() -> None:
    assert architecture_of(NESTED) == Architecture("Gemma3ForConditionalGeneration", experts=True)
    assert (positions(NESTED), vocabulary_size(NESTED)) == (64, 9)


def test_positions_have_several_names() -> None:
    assert positions({"n_positions": 1024}) == 1024
    assert positions({"max_seq_len": 2048}) == 2048
    assert positions({}) is None
    assert vocabulary_size({}) is None


@pytest.mark.parametrize(
    ("config", "needed"),
    [
        ({"model_type": "gemma2"}, True),
        ({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}}, True),
        ({"model_type": "gemma3", "text_config": {}}, True),
        ({"model_type": "llama"}, False),
        ({}, False),
    ],
)
def test_which_models_need_bos(config: dict[str, Any], needed: bool) -> None:
    assert needs_bos(config) is needed


def test_which_layers_have_a_window() -> None:
    layers = ["sliding_attention", "full_attention", "chunked_attention"]
    assert architecture_of({"layer_types": layers}).windowed == (True, False, True)
    assert architecture_of({}).windowed == ()
