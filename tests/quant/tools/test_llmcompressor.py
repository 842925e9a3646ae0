from __future__ import annotations

import re

import pytest

from quant.tools.llmcompressor import LEFT_ALONE


def _left_alone(name: str) -> bool:
    """As compressed-tensors matches: a name, or after `re:` a pattern from its beginning."""
    return any(
        re.match(entry.removeprefix("re:"), name) if entry.startswith("re:") else entry == name for entry in LEFT_ALONE
    )


@pytest.mark.parametrize(
    "name",
    [
        "lm_head",
        "model.layers.0.mlp.gate",
        "model.layers.0.mlp.shared_expert_gate",
        "model.layers.0.block_sparse_moe.gate",
        "model.layers.0.block_sparse_moe.router.layer",
        "model.layers.0.mlp.router",
    ],
)
def test_the_head_and_routers_are_left_alone(name: str) -> None:
    assert _left_alone(name)


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.mlp.gate_proj",
        "model.layers.0.mlp.shared_expert.gate_proj",
        "model.layers.0.mlp.experts.3.gate_up_proj",
        "model.layers.0.self_attn.gate",
    ],
)
def test_gated_layers_are_quantized(name: str) -> None:
    assert not _left_alone(name)
