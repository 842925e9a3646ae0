"""KV bytes of a token: published configurations, worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines.kv_cache import kv_bytes_per_token, numbers_per_token

LLAMA_8B = {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096}
SMOLLM = {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576}


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        (LLAMA_8B, 65_536),  # 128 KiB in 16 bits: the field's well-known figure
        (SMOLLM, 11_520),
        ({**LLAMA_8B, "num_key_value_heads": None}, 262_144),
        ({**LLAMA_8B, "head_dim": 64}, 32_768),
        ({"text_config": SMOLLM}, 11_520),
        ({**LLAMA_8B, "layer_types": ["full_attention"] * 32}, 65_536),
        ({**LLAMA_8B, "sliding_window": 4096, "use_sliding_window": False}, 65_536),
        ({**LLAMA_8B, "sliding_window": 4096}, None),
        ({**LLAMA_8B, "layer_types": ["sliding_attention", "full_attention"]}, None),
        ({**LLAMA_8B, "kv_lora_rank": 512}, None),
        ({"hidden_size": 64}, None),
        ({"n_layer": 12, "n_head": 12, "n_embd": 768}, 18_432),  # GPT-2
        ({"num_hidden_layers": 32, "num_attention_heads": 71, "hidden_size": 4544, "multi_query": True}, 4_096),
    ],
)
def test_numbers_of_a_token(config: dict[str, Any], numbers: int | None) -> None:
    assert numbers_per_token(config) == numbers


def test_what_the_engine_tells_comes_first(tmp_path: Path) -> None:
    facts = {"kv_cache_bytes": 1024**3, "kv_cache_tokens": 8192, "dtype": "float32"}
    assert kv_bytes_per_token(facts, {}, tmp_path) == (131_072.0, "reported by the engine")
    assert kv_bytes_per_token({**facts, "kv_cache_tokens": 0}, {}, tmp_path) is None


def test_else_configuration_and_type_do(tmp_path: Path) -> None:
    assert kv_bytes_per_token({"dtype": "float32"}, {}, tmp_path) is None  # no configuration
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM))
    by = "by the model's configuration"
    assert kv_bytes_per_token({"dtype": "float32"}, {}, tmp_path) == (46_080.0, by)
    assert kv_bytes_per_token({"dtype": "bfloat16"}, {"kv_cache_dtype": "auto"}, tmp_path) == (23_040.0, by)
    assert kv_bytes_per_token({"dtype": "bfloat16"}, {"kv_cache_dtype": "fp8"}, tmp_path) == (11_520.0, by)
    assert kv_bytes_per_token({"dtype": "float32"}, {"kv_cache_dtype": "u8"}, tmp_path) is None  # scales besides
    assert kv_bytes_per_token({}, {}, tmp_path) is None


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", '{"text_config": 3}', '{"num_hidden_layers": "x"}', "{"])
def test_a_configuration_that_nobody_can_read_tells_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    assert kv_bytes_per_token({"dtype": "bf16"}, {}, tmp_path) is None
