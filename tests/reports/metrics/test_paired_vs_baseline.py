from __future__ import annotations

import dataclasses

from reports.decision.results import conclude
from reports.metrics.paired_vs_baseline import compared
from reports.output.html_report import contents, render
from reports.output.json_data import as_data
from tests.support.made_trials import ABOUT, score, trial


def test_each_quantized_cell_has_a_row_for_each_task() -> None:
    base, other_engine = trial("none", 10, 1.0, 80), trial("none", 12, 1.0, 80, engine="f")
    close, far = trial("rtn", 20, 1.0, 78), trial("rtn", 20, 1.0, 40, engine="f")
    flips = compared(conclude(ABOUT, [base, close, other_engine, far]).cells, 0.01, 0.05).flips
    assert [(flip.name, flip.reference, flip.task) for flip in flips] == [
        ("rtn · e", "none · e", "arc"),
        ("rtn · f", "none · f", "arc"),
    ]
    assert [(flip.paired.lost, flip.paired.gained, flip.paired.verdict) for flip in flips] == [
        (2, 0, "inconclusive"),
        (40, 0, "worse"),
    ]


def test_other_questions_are_not_compared() -> None:
    base = trial("none", 10, 1.0, 80)
    fewer = dataclasses.replace(trial("a", 10, 1.0, 70), scores=(score("arc", [1.0] * 50),))
    assert compared(conclude(ABOUT, [base, fewer]).cells, 0.01, 0.05).flips == ()
    assert compared([], 0.01, 0.05).flips == ()


def test_the_page_and_the_data_say_so() -> None:
    results = conclude(ABOUT, [trial("none", 10, 1.0, 80), trial("rtn", 20, 1.0, 78)])
    page = render(contents(results), {})
    assert "Accuracy (paired)" in page
    assert "inconclusive" in page
    assert "margin of 1.00 % of the baseline" in page
    (row,) = as_data(results)["flips"]
    assert (row["task"], row["paired"]["lost"], row["paired"]["verdict"]) == ("arc", 2, "inconclusive")


def test_a_budget_that_looked_several_times_says_so_and_has_wider_intervals() -> None:
    base, cell = trial("none", 10, 1.0, 80), trial("rtn", 20, 1.0, 70)
    ranked = dataclasses.replace(cell.scores[0], drawn=100, ranks=tuple(range(100)))
    base = dataclasses.replace(base, scores=(dataclasses.replace(base.scores[0], drawn=100, ranks=tuple(range(100))),))
    full = dataclasses.replace(cell, scores=(ranked,))
    adaptive = dataclasses.replace(full, provenance={"accuracy": {"budget": "adaptive"}})
    plain, looked = (conclude(ABOUT, [base, result]) for result in (full, adaptive))
    (flip,), (other,) = plain.compared.flips, looked.compared.flips
    assert (flip.adaptive, other.adaptive) == (False, True)
    assert other.paired.p_different > flip.paired.p_different
    assert plain.cells[1].recovery is not None
    assert looked.cells[1].recovery is not None
    assert looked.cells[1].recovery.low < plain.cells[1].recovery.low
    assert "The budget is adaptive" in render(contents(looked), {})
    assert "The budget is adaptive" not in render(contents(plain), {})


def test_perplexities_and_pages_are_compared_too() -> None:
    base, close, far = (trial(name, 10, 1.0, 80, loss) for name, loss in (("none", 2.0), ("a", 2.001), ("b", 2.3)))
    likelihoods = compared(conclude(ABOUT, [base, close, far]).cells, 0.01, 0.05).likelihoods
    assert [(likelihood.name, likelihood.text, likelihood.clusters) for likelihood in likelihoods] == [
        ("a · e", "wikitext2 (papers, 129)", 8),
        ("b · e", "wikitext2 (papers, 129)", 8),
    ]
    assert likelihoods[0].verdict == "equivalent"
    assert likelihoods[1].verdict == "worse"
    assert likelihoods[1].ratio.value > 1.3
