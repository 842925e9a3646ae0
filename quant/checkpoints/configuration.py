"""What a model's configuration (`config.json`) says of its architecture. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quant.types import Architecture

Configuration = Mapping[str, Any]
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
WINDOWED = ("sliding_attention", "chunked_attention")  # of `layer_types`
# layers with a state or a convolution where others have keys and values, by the settings that such layers alone have
RECURRENT = (
    "conv_L_cache",
    "hybrid_override_pattern",
    "linear_num_value_heads",
    "lru_width",
    "mamba_d_state",
    "rescale_every",
    "ssm_state_size",
    "state_size",
)


def architecture_of(config: Configuration) -> Architecture:
    """Of a configuration, whose language model may be nested in it."""
    text = text_configuration(config)
    names = config.get("architectures") or text.get("architectures") or [""]
    counts = {**text, **(text.get("ffn_config") or {})}
    given = [counts.get(key) or 0 for key in EXPERTS]
    experts = any(max(count if isinstance(count, list) else [count]) > 1 for count in given)  # a list: by layer
    windowed = tuple(kind in WINDOWED for kind in text.get("layer_types") or ())
    return Architecture(str(names[0]), experts, any(text.get(key) for key in RECURRENT), windowed=windowed)


def text_configuration(config: Configuration) -> Configuration:
    """The part about the language model: the configuration itself, or what is nested in it."""
    nested = config.get("text_config")
    return nested if isinstance(nested, Mapping) else config


def needs_bos(config: Configuration) -> bool:
    """Whether the model predicts badly where a text does not begin with its BOS token: Gemma, as lm-eval 0.4.13 has it
    (models/huggingface.py). Gemma 3 270M's perplexity in WikiText-2's windows of 512 tokens is 64, and 25 with BOS.
    """
    return "gemma" in str(text_configuration(config).get("model_type") or config.get("model_type"))


def positions(config: Configuration) -> int | None:
    """Tokens that fit in a context; None where the configuration names no limit."""
    text = text_configuration(config)
    return next((int(text[name]) for name in POSITIONS if text.get(name)), None)


def vocabulary_size(config: Configuration) -> int | None:
    """Rows of the embedding: ids from here on have none, whatever the tokenizer knows."""
    size = text_configuration(config).get("vocab_size")
    return None if size is None else int(size)
