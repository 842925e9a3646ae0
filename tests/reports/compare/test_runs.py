"""Two runs held against each other: what is worse is told, what is not passes, what cannot be told is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evals.schema.accuracy import Score
from evals.schema.trial import Trial
from reports.compare.runs import Comparison, NotComparable, compare
from reports.decision.results import Results, conclude
from reports.output.html_report import render_comparison
from tests.support.made_races import raced
from tests.support.made_trials import ABOUT, failed, score, speed, trial


def _run(*trials: Trial, **about: Any) -> Results:
    return conclude({**ABOUT, "accuracy": {"error_rate": 0.05}, **about}, trials)


def _states(comparison: Comparison) -> dict[str, str]:
    (cell,) = comparison.cells
    return {check.figure: check.state for check in cell.checks}


def _answers(right: int, of: int = 2000, shift: float = 0.0) -> Score:
    values = [1.0] * right + [0.0] * (of - right)
    made = score("arc", values)
    return replace(made, loglikelihoods=tuple((loglikelihood[0] + shift,) for loglikelihood in made.loglikelihoods))


def _cell(
    right: int = 1200, rate: float = 10, *, shift: float = 0.0, wobble: float = 0.001, loss: float = 2.0
) -> Trial:
    result = trial("none", rate, 1.0, 50, loss)
    return replace(result, scores=(_answers(right, shift=shift),), speed=(speed(rate, wobble=wobble),))


def test_a_run_passes_against_itself() -> None:
    comparison = compare(_run(_cell()), _run(_cell()))
    assert _states(comparison) == {
        "output tokens/s at concurrency 1": "PASS",
        "arc": "PASS",
        "wikitext2 (papers, 129)": "PASS",
    }
    assert comparison.cells[0].state == "PASS"
    assert comparison.cells[0].checks[1].text == "the same 2000 answers, to the last digit of their log-likelihoods"
    assert (comparison.changes, comparison.cells[0].changes) == ((), ())


@pytest.mark.parametrize(
    ("rate", "wobble", "state"),
    [
        (10, 0.001, "PASS"),
        (20, 0.001, "PASS"),
        (5.0, 0.001, "REGRESSION"),
        (9.0, 0.001, "INCONCLUSIVE"),
        (9.5, 0.003, "INCONCLUSIVE"),
        (5.0, 0.2, "INCONCLUSIVE"),
    ],
)
def test_a_rate_alone_by_its_margin_and_what_servers_and_hours_do(rate: float, wobble: float, state: str) -> None:
    comparison = compare(_run(_cell()), _run(_cell(rate=rate, wobble=wobble)))
    assert _states(comparison)["output tokens/s at concurrency 1"] == state
    assert comparison.cells[0].state == state


def test_answers_by_paired_tests() -> None:
    """A hundred of 2,000 lost is worse; one lost and as many digits changed is equivalent; of few nothing is told."""
    assert _states(compare(_run(_cell()), _run(_cell(1100))))["arc"] == "REGRESSION"
    assert _states(compare(_run(_cell()), _run(_cell(1300))))["arc"] == "PASS"
    assert _states(compare(_run(_cell()), _run(_cell(1199, shift=1e-6))))["arc"] == "PASS"
    few = [replace(_cell(), scores=(_answers(right, 20),)) for right in (12, 11)]
    comparison = compare(_run(few[0]), _run(few[1]))
    assert _states(comparison)["arc"] == "INCONCLUSIVE"
    assert "on 20 questions, 1 lost and 0 gained: inconclusive" in comparison.cells[0].checks[1].text


def test_texts_by_paired_tests() -> None:
    comparison = compare(_run(_cell()), _run(_cell(loss=2.2)))
    assert _states(comparison)["wikitext2 (papers, 129)"] == "REGRESSION"
    assert comparison.cells[0].state == "REGRESSION"


def test_what_fails_now_is_worse() -> None:
    comparison = compare(_run(_cell()), _run(failed("none", "the kernel is gone")))
    assert _states(comparison) == {"status": "REGRESSION"}
    assert comparison.cells[0].checks[0].text == "measured in the earlier run, not now: the kernel is gone"
    mended = compare(_run(failed("none", "the kernel is gone")), _run(_cell()))
    assert mended.cells[0].state == "NOT COMPARED"


def test_what_cannot_be_compared_is_not() -> None:
    other = replace(_cell(), device="another", speed=(speed(3),))
    comparison = compare(_run(_cell(), device="a test"), _run(other, device="another"))
    assert comparison.changes == ("device: a test → another",)
    assert _states(comparison)["output tokens/s at concurrency 1"] == "NOT COMPARED"
    assert comparison.cells[0].state == "PASS"  # its answers are the same
    busier = compare(_run(_cell()), _run(replace(_cell(), speed=(speed(10, 4),))))
    assert busier.cells[0].checks[0].text == "the other run has no such load"
    adaptive = replace(_cell(), scores=(replace(_answers(1000, 1500), drawn=2000),))
    texts = {check.figure: check.text for check in compare(_run(_cell()), _run(adaptive)).cells[0].checks}
    assert "arc" not in texts
    assert texts["questions"] == "an adaptive budget asked other questions in each run"
    with pytest.raises(NotComparable, match=r"made and later have no cell in common"):
        compare(_run(_cell()), _run(trial("rtn", 10, 1.0, 50), name="later"))


def test_what_changed_is_named() -> None:
    faster = replace(
        _cell(), facts={"version": "2", "kernel": "K"}, checkpoint={**(_cell().checkpoint or {}), "content_sha256": "b"}
    )
    before = _run(_cell(), trial("rtn", 9, 1.0, 50), plan="a", versions={"python": "3", "driver": "1"})
    after = _run(faster, trial("awq", 9, 1.0, 50), plan="b", versions={"python": "3", "driver": "2"}, threads=2)
    comparison = compare(before, after)
    assert comparison.changes == ("threads: 1 → 2", "driver: 1 → 2", "the plan was changed")
    assert comparison.cells[0].changes == (
        "version: not reported → 2",
        "kernel: not reported → K",
        "another checkpoint",
    )
    assert (comparison.only_before, comparison.only_after) == (("rtn · e",), ("awq · e",))


def test_nothing_becomes_markup() -> None:
    evil = "<script>alert(1)</script>"
    runs = [
        _run(replace(_cell(), method_label=evil, model=evil, facts={"version": version}), name=evil)
        for version in ("a", evil)
    ]
    page = render_comparison(compare(*runs))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page


def test_a_slow_hour_is_in_the_interval_of_two_races() -> None:
    """All cells of the second run had rounds that were slower: within it they compare well, and with the first badly."""
    shares = (1.0, 0.8, 0.9, 0.75)
    quick = [raced(name, dict(enumerate([50.0 + n for n in range(4)], 1))) for name in ("none", "rtn", "awq")]
    slow = [
        raced(name, {number: (50.0 + number) * share for number, share in enumerate(shares, 1)})
        for name in ("none", "rtn", "awq")
    ]
    before, after = _run(*quick), _run(*slow)
    for cell in after.cells:  # of the model, for comparing within the run
        rate = cell.loads[0].output_rate
        assert (rate.high - rate.low) / rate.value < 0.1
    states = [
        check.state for cell in compare(before, after).cells for check in cell.checks if "tokens/s" in check.figure
    ]
    assert states == ["INCONCLUSIVE"] * 3
