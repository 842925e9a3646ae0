from __future__ import annotations

import json

import pytest

from evals.stats.intervals import Estimate
from scripts.changed_figures import (
    BEFORE,
    ROOT,
    _before,
    _results,
    _verdict,
    recovery_from_counts,
    requests_of_summaries,
)

LIMITS = {"accuracy_recovery": 0.98, "perplexity_ratio": 1.1}
RATIO = {"value": 1.0, "low": 0.99, "high": 1.01}


def test_no_flip_among_few_questions_leaves_much_open() -> None:
    few = recovery_from_counts(0.5, {"items": 10, "lost": 0, "gained": 0})
    many = recovery_from_counts(0.5, {"items": 4000, "lost": 0, "gained": 0})
    assert few.value == many.value == 1.0
    assert few.low < 0.7
    assert many.low > 0.99


def test_lost_and_gained_answers_are_on_their_sides() -> None:
    assert recovery_from_counts(0.5, {"items": 100, "lost": 10, "gained": 5}).value == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.9, 0.95, "fails"), (0.99, 1.02, "meets"), (0.95, 1.02, "inconclusive")]
)
def test_the_verdict_of_a_recomputed_figure(low: float, high: float, verdict: str) -> None:
    assert _verdict(Estimate(1.0, low, high, 1), RATIO, LIMITS) == verdict
    assert _verdict(Estimate(1.0, 0.99, 1.0, 1), {"value": 1.3, "low": 1.2, "high": 1.4}, LIMITS) == "fails"


def test_every_published_cell_has_a_figure_after() -> None:
    before = json.loads((ROOT / BEFORE).read_text(encoding="utf-8"))
    assert [row["cell"] for row in before["cells"]] == [_before(cell.trial.name) for cell in _results().cells]
    assert "| gguf float16 · llama_cpp, 16 users | 3.55 | 4.99 | +41 % |" in requests_of_summaries()
