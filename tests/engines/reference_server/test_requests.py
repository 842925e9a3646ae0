from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines.reference_server.requests import stop_ids


@pytest.mark.parametrize(
    ("config", "generation", "ids"),
    [
        ({"eos_token_id": 2}, {"eos_token_id": [2, 7]}, {2, 7}),
        ({"eos_token_id": 2}, {}, set()),
        ({"eos_token_id": 2}, None, {2}),  # checkpoints of older tools have no such file
        ({"text_config": {"eos_token_id": [3]}}, None, {3}),
        ({}, None, set()),
    ],
)
def test_ids_that_end_a_text(
    tmp_path: Path, config: dict[str, Any], generation: dict[str, Any] | None, ids: set[int]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    assert stop_ids(tmp_path) == ids
