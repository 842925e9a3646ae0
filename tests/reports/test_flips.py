from __future__ import annotations

import dataclasses

from reports.console import as_data
from reports.flips import flips
from reports.html import conclude, render
from tests.reports.made import ABOUT, score, trial


def test_each_quantized_cell_has_a_row_for_each_task() -> None:
    base, other_engine = trial("none", 10, 1.0, 80), trial("none", 12, 1.0, 80, engine="f")
    close, far = trial("rtn", 20, 1.0, 78), trial("rtn", 20, 1.0, 40, engine="f")
    found = flips(conclude(ABOUT, [base, close, other_engine, far]).cells, 0.01)
    assert [(one.name, one.reference, one.task) for one in found] == [
        ("rtn · e", "none · e", "arc"),
        ("rtn · f", "none · f", "arc"),
    ]
    assert [(one.paired.lost, one.paired.gained, one.paired.verdict) for one in found] == [
        (2, 0, "inconclusive"),
        (40, 0, "worse"),
    ]


def test_other_questions_and_values_between_are_not_compared() -> None:
    base = trial("none", 10, 1.0, 80)
    fewer = dataclasses.replace(trial("a", 10, 1.0, 70), scores=(score("arc", [1.0] * 50),))
    partly = dataclasses.replace(trial("b", 10, 1.0, 70), scores=(score("arc", [0.5] * 100),))
    assert flips(conclude(ABOUT, [base, fewer, partly]).cells, 0.01) == []
    assert flips([], 0.01) == []


def test_the_page_and_the_data_say_so() -> None:
    results = conclude(ABOUT, [trial("none", 10, 1.0, 80), trial("rtn", 20, 1.0, 78)])
    page = render(results, [])
    assert "The same questions" in page
    assert "inconclusive" in page
    assert "against 1.00 % of the baseline" in page
    (row,) = as_data(results)["flips"]
    assert (row["task"], row["paired"]["lost"], row["paired"]["verdict"]) == ("arc", 2, "inconclusive")
