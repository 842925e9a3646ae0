"""Shapes of published configurations, read by hand from their pages."""

from __future__ import annotations

from typing import Any

import pytest

from quant.checkpoints.shape import Shape, shape_of

LLAMA_8B = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "tie_word_embeddings": False,
}
GPT2 = {"n_layer": 12, "n_head": 12, "n_embd": 768}
FALCON_7B = {"num_hidden_layers": 32, "num_attention_heads": 71, "hidden_size": 4544, "multi_query": True}
FALCON_40B = {
    "num_hidden_layers": 60,
    "num_attention_heads": 128,
    "num_kv_heads": 8,
    "hidden_size": 8192,
    "multi_query": True,
    "new_decoder_architecture": True,
}
DBRX = {
    "n_layers": 40,
    "n_heads": 48,
    "d_model": 6144,
    "attn_config": {"kv_n_heads": 8},
    "ffn_config": {"moe_num_experts": 16, "moe_top_k": 4},
}
MIXTRAL = {**LLAMA_8B, "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None}
GEMMA3_1B = {
    "num_hidden_layers": 26,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "hidden_size": 1152,
    "head_dim": 256,
    "sliding_window": 512,
    "layer_types": [*["sliding_attention"] * 22, *["full_attention"] * 4],
    "tie_word_embeddings": True,
}


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (LLAMA_8B, Shape(32, (), None, 32, 8, 128, tied_head=False)),
        ({"text_config": LLAMA_8B}, Shape(32, (), None, 32, 8, 128, tied_head=False)),
        (GPT2, Shape(12, (), None, 12, 12, 64)),
        (FALCON_7B, Shape(32, (), None, 71, 1, 64)),
        (FALCON_40B, Shape(60, (), None, 128, 8, 64)),
        (DBRX, Shape(40, (), None, 48, 8, 128, 16, 4)),
        (MIXTRAL, Shape(32, (), None, 32, 8, 128, 8, 2, False)),
        (GEMMA3_1B, Shape(26, (("full_attention", 4), ("sliding_attention", 22)), 512, 4, 1, 256, tied_head=True)),
        ({**LLAMA_8B, "sliding_window": -1}, Shape(32, (), None, 32, 8, 128, tied_head=False)),
        ({**LLAMA_8B, "sliding_window": 4096}, Shape(32, (), 4096, 32, 8, 128, tied_head=False)),
        (
            {**LLAMA_8B, "sliding_window": 4096, "use_sliding_window": False},
            Shape(32, (), None, 32, 8, 128, tied_head=False),
        ),
        ({"model_type": "mistral"}, Shape(window=4096)),
        ({"model_type": "mistral", "sliding_window": None}, Shape()),
        ({"model_type": "qwen2", "sliding_window": 4096}, Shape()),
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": True}, Shape(window=4096)),
        ({"layers_block_type": ["mamba", "attention"]}, Shape(2, (("attention", 1), ("mamba", 1)))),
        ({**LLAMA_8B, "num_key_value_heads": [8, 4]}, Shape(32, (), None, 32, None, 128, tied_head=False)),
        ({**LLAMA_8B, "kv_lora_rank": 512}, Shape(32, (), None, 32, tied_head=False, latent_rank=512)),
        ({}, Shape()),
    ],
)
def test_shapes_of_published_configurations(config: dict[str, Any], shape: Shape) -> None:
    assert shape_of(config) == shape
