from __future__ import annotations

import math
from typing import Any

import pytest

from evals.accuracy.answer_margin import answer_margins


def _sample(*answers: tuple[float, bool], texts: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "filtered_resps": list(answers),
        "arguments": [("context", text) for text in texts or ("x",) * len(answers)],
    }


def test_the_best_choice_is_ahead_of_the_next() -> None:
    sample = _sample((-4.0, False), (-1.0, True), (-1.5, False))
    assert answer_margins([sample, _sample((-1.0, True), (-1.0, False))], ["acc"]) == pytest.approx((0.5, 0.0))


def test_by_character_where_the_metric_is() -> None:
    sample = _sample((-4.0, False), (-3.0, False), texts=(" abcd", " ab"))
    assert answer_margins([sample], ["acc", "acc_norm"]) == pytest.approx((0.5,))  # −1 and −1.5 a character
    assert answer_margins([sample], ["acc"]) == pytest.approx((1.0,))


def test_a_single_answer_is_ahead_by_its_odds() -> None:
    likely, unlikely = math.log(0.8), math.log(0.2)
    margins = answer_margins([_sample((likely, True)), _sample((unlikely, False)), _sample((unlikely, True))], ["acc"])
    assert margins == pytest.approx((math.log(4), math.log(4), -math.log(4)))
    assert math.isfinite(answer_margins([_sample((0.0, True))], ["acc"])[0])
    assert math.isfinite(answer_margins([_sample((-1000.0, False))], ["acc"])[0])


def test_generated_answers_and_rolling_texts_have_none() -> None:
    assert answer_margins([{"filtered_resps": ["42"], "arguments": [("q", {})]}], ["exact_match"]) == ()
    assert answer_margins([{"filtered_resps": [-5.0], "arguments": [("text",)]}], ["word_perplexity"]) == ()
