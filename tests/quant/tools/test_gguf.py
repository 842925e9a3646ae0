"""Keys that llama.cpp's converter reads and Transformers 5 does not write."""

from __future__ import annotations

from typing import Any

import pytest

from quant.tools.gguf import old_keys

FALCON = {"architectures": ["FalconForCausalLM"], "num_attention_heads": 71, "num_kv_heads": 71, "multi_query": True}
H1 = {"architectures": ["FalconH1ForCausalLM"], "hidden_size": 1024, "num_attention_heads": 8}


@pytest.mark.parametrize(
    ("config", "put_back"),
    [
        ({"architectures": ["GPT2LMHeadModel"], "n_positions": 1024}, {"n_ctx": 1024}),
        (
            {"architectures": ["GPTNeoXForCausalLM"], "rope_parameters": {"partial_rotary_factor": 0.25}},
            {"rotary_pct": 0.25},
        ),
        ({"architectures": ["GPTNeoXForCausalLM"], "rotary_pct": 0.5}, {"rotary_pct": 0.5}),
        ({"architectures": ["Cohere2ForCausalLM"], "rope_parameters": {}}, {"rotary_pct": 1.0}),
        (H1, {"head_dim": 128}),
        ({**H1, "head_dim": 64}, {"head_dim": 64}),
        (FALCON, {"num_kv_heads": 1}),
        ({**FALCON, "new_decoder_architecture": True, "num_kv_heads": 8}, {}),
        ({**FALCON, "multi_query": False}, {}),
        ({"architectures": ["LlamaForCausalLM"], "num_attention_heads": 8}, {}),
        ({}, {}),
    ],
)
def test_keys_by_architecture(config: dict[str, Any], put_back: dict[str, Any]) -> None:
    assert old_keys(config) == put_back
