from __future__ import annotations

from typing import Any

import pytest

from quant.reference_outputs import NotTheWholeModel, check_loading


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
