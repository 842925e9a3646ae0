"""Questions that flipped, side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evals.schema.accuracy import Score
from evals.schema.trial import Trial
from quant.canonical_json import write_json
from reports.output.html_report import write_report
from reports.sections.flipped_items import Answer, flipped
from tests.support.made_trials import ABOUT, score, trial

EVIL = "<script>alert(1)</script>"


def _score(values: list[float], *, texts: bool = False, shift: float = 0.0) -> Score:
    made = score("arc", values)
    count = len(values)
    answers = tuple((f"question {n} {EVIL}", "yes", "no") for n in range(count)) if texts else ()
    likely = tuple((-1.0 - shift, -2.0) for _ in values)
    return replace(made, texts=answers, ranks=tuple(reversed(range(count))), loglikelihoods=likely)


def _pair(before: list[float], after: list[float]) -> tuple[Trial, Trial]:
    base = replace(trial("none", 10, 1.0, 80), scores=(_score(before, texts=True),))
    return base, replace(trial("rtn", 20, 1.0, 80), scores=(_score(after, shift=0.5),))


def test_flips_of_either_direction_by_the_random_order() -> None:
    base, cell = _pair([1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1, 1])
    flips = flipped(cell, base)
    assert [(flip.question.split()[1], flip.direction) for flip in flips] == [
        ("6", "wrong → right"),
        ("3", "right → wrong"),
        ("2", "right → wrong"),
    ]
    assert flips[0].answers == (Answer("yes", -1.0, -1.5), Answer("no", -2.0, -2.0))


def test_without_texts_or_other_metrics_there_are_none() -> None:
    base, cell = _pair([1.0], [0.0])
    assert flipped(cell, None) == []
    assert flipped(cell, replace(base, scores=(replace(base.scores[0], texts=()),))) == []
    assert flipped(cell, replace(base, scores=(replace(base.scores[0], texts=((),)),))) == []
    assert flipped(replace(cell, scores=(replace(cell.scores[0], metrics=("exact_match",)),)), base) == []
    assert flipped(replace(cell, scores=(replace(cell.scores[0], item_keys=("another",)),)), base) == []


def test_generated_answers_have_no_likelihoods() -> None:
    base, cell = _pair([1.0], [0.0])
    base = replace(base, scores=(replace(base.scores[0], loglikelihoods=((),), texts=(("asked", "42"),)),))
    (flip,) = flipped(cell, base)
    assert flip.answers == (Answer("42", None, None),)


def test_the_page_shows_them_as_text(tmp_path: Path) -> None:
    base, cell = _pair([1.0, 1.0], [0.0, 1.0])
    (tmp_path / "trials").mkdir()
    for name, result in (("0.json", base), ("1.json", cell)):
        write_json(tmp_path / "trials" / name, result)
    write_json(tmp_path / "sweep.json", {**ABOUT, "trials": ["0.json", "1.json"]})
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "arc, right → wrong" in page
    assert "question 0 &lt;script&gt;alert(1)" in page
    assert '<td class="n">-1.00</td><td class="n">-1.50</td><td class="n">-0.50</td>' in page
