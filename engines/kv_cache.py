"""How many bytes of KV cache one token takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quant.canonical_json import read_regular
from quant.checkpoints.configuration import text_configuration
from quant.checkpoints.shape import shape_of

DTYPE_BYTES = {
    "float32": 4,
    "f32": 4,
    "float16": 2,
    "f16": 2,
    "bfloat16": 2,
    "bf16": 2,
    "fp8": 1,
    "fp8_e4m3": 1,
    "fp8_e5m2": 1,
}
OTHER_CACHES = ("kv_lora_rank", "num_kv_shared_layers", "ssm_cfg", "mamba_d_state", "linear_num_key_heads")


def kv_bytes_per_token(
    facts: Mapping[str, str | int | float], options: Mapping[str, Any], folder: Path
) -> tuple[float, str] | None:
    """Bytes and where they are from: what the engine set aside ÷ the tokens that it says fit there, else the model's
    configuration in `folder`, for types that are stored without scales. None where neither tells.
    """
    if facts.get("kv_cache_bytes") and facts.get("kv_cache_tokens"):
        return float(facts["kv_cache_bytes"]) / float(facts["kv_cache_tokens"]), "reported by the engine"
    asked = str(options.get("kv_cache_dtype", "auto"))
    each = DTYPE_BYTES.get(str(facts.get("dtype")) if asked == "auto" else asked)
    file = folder / "config.json"
    if each is None or not file.exists():
        return None
    try:
        numbers = numbers_per_token(json.loads(read_regular(file)))
    except (OSError, ValueError, RecursionError, TypeError, AttributeError, LookupError, ArithmeticError):
        return None  # somebody else wrote it; what was measured stands without it
    return None if numbers is None else (float(numbers * each), "by the model's configuration")


def numbers_per_token(config: Mapping[str, Any]) -> int | None:
    """2 × layers × key-value heads × head size, where every layer keeps a key and a value of every token (Ainslie and
    others, GQA, 2023); None where some layers do not.
    """
    text, shape = text_configuration(config), shape_of(config)
    if any(text.get(name) for name in OTHER_CACHES) or {kind for kind, _ in shape.layer_kinds} - {"full_attention"}:
        return None
    if shape.window or not (shape.layers and shape.key_value_heads and shape.head_size):
        return None
    return 2 * shape.layers * shape.key_value_heads * shape.head_size
