"""From one engine to another: what changes for the same method."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evals.schema.load import LoadPoint
from evals.schema.trial import Trial
from quant.canonical_json import write_json
from reports.decision.results import read_results
from reports.metrics.cell import cell_metrics
from reports.output.html_report import write_report
from reports.output.json_data import as_data
from reports.sections.engine_ratios import Move, moves
from tests.support.made_trials import ABOUT, speed, trial


def _moves(*trials: Trial) -> list[Move]:
    return moves([cell_metrics(result, None) for result in trials])


def _at(result: Trial, *rates: tuple[float, int]) -> Trial:
    return replace(result, speed=tuple(speed(rate, users) for rate, users in rates))


def test_ratios_are_after_by_before_at_common_loads() -> None:
    before = _at(trial("rtn", 1, 2.0, 80, engine="a"), (10, 1), (20, 4), (99, 8))
    after = _at(trial("rtn", 1, 1.0, 76, engine="b"), (20, 1), (60, 4))
    (move,) = _moves(before, after)
    assert (move.before, move.after, move.method) == ("a", "b", "rtn")
    assert (move.busiest.concurrency, move.calmest.concurrency) == (4, 1)
    assert move.rate.value == pytest.approx(3)
    assert move.rate.low < 3 < move.rate.high
    assert move.tpot == pytest.approx(0.5, rel=0.05)
    assert move.memory == 0.5
    assert (move.changed, move.items) == (4, 100)


def test_other_methods_models_and_loads_are_not_held_together() -> None:
    result = trial("rtn", 10, 1.0, 80, engine="a")
    open_load = replace(speed(10), load=LoadPoint(None, 2, 10, 11, 1.0, "poisson"))
    others = [
        trial("awq", 10, 1.0, 80, engine="b"),
        trial("rtn", 10, 1.0, 80, engine="b", model="another"),
        _at(trial("rtn", 10, 1.0, 80, engine="c"), (10, 64)),
        replace(trial("rtn", 10, 1.0, 80, engine="d"), speed=(open_load,)),
        replace(result, key="again"),
    ]
    assert _moves(result, *others) == []


def test_what_was_not_seen_is_a_dash() -> None:
    before = replace(trial("rtn", 10, 1.0, 80, engine="a"), memory=None, scores=())
    (move,) = _moves(before, trial("rtn", 10, 1.0, 80, engine="b"))
    assert move.memory is None
    assert move.items == 0


def test_page_and_json_tell_it(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    for number, engine in enumerate("abc"):
        write_json(tmp_path / "trials" / f"{number}.json", trial("none", 10 * (number + 1), 2.0, 80, engine=engine))
    write_json(tmp_path / "sweep.json", {**ABOUT, "trials": ["0.json", "1.json", "2.json"]})
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert all(f"<summary>{pair}</summary>" in page for pair in ("a → b", "a → c", "b → c"))
    assert [(move["before"], move["after"]) for move in as_data(read_results(tmp_path))["moves"]] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
