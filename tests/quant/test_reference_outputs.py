from __future__ import annotations

from typing import Any

import pytest

import quant.reference_outputs
from quant.reference_outputs import NotTheWholeModel, check_loading, long_items


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"missing_keys": {"lm_head.weight"}}, "1 weights are missing and would be random: lm_head.weight"),
        ({"mismatched_keys": {("a.weight", (1,), (2,))}}, "1 weights are missing and would be random: .*a.weight"),
        ({"unexpected_keys": {"score.weight", "b", "c", "d"}}, "4 weights have no place in the model: b, c, d$"),
    ],
)
def test_a_model_that_is_not_whole_has_no_reference(report: dict[str, Any], words: str) -> None:
    with pytest.raises(NotTheWholeModel, match=words):
        check_loading(report)


def test_a_whole_model_is_well() -> None:
    check_loading({"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set(), "error_msgs": []})


@pytest.mark.parametrize("added", [0, 1])
def test_the_long_items_begin_as_the_text_does(monkeypatch: pytest.MonkeyPatch, added: int) -> None:
    monkeypatch.setattr(
        quant.reference_outputs, "token_logprobs", lambda model, ids: [float(number) for number in ids[1:]]
    )
    ids = list(range(400))
    items = long_items(None, ids, added)
    assert [item["context"][:2] for item in items] == [[0, 1], [0, 1], [0, 2] if added else [1, 2]]
    assert all(item["logprobs"] == item["continuation"] for item in items)
