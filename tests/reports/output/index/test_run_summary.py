from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from quant.canonical_json import write_json
from reports.decision.results import conclude
from reports.output.html_report import write_report
from reports.output.index.run_summary import UnreadableSummary, read_summary, write_summary
from tests.support.made_runs import write_run
from tests.support.made_trials import ABOUT, failed, trial


def _at(started: str) -> dict[str, dict[str, str]]:
    return {"measured": {"started": started}}


def test_a_report_leaves_a_summary_of_its_run(tmp_path: Path) -> None:
    cells = [
        replace(trial("none", 10, 2.0, 80), provenance=_at("2026-11-21T08:00:00Z")),
        replace(trial("rtn", 20, 1.0, 78, 2.05), provenance=_at("2026-11-21T09:00:00Z")),
        failed("awq", "it broke"),
    ]
    run = write_run(tmp_path / "run", *cells)
    write_report(run)
    summary = read_summary(run)
    assert summary is not None
    assert (summary.plan, summary.machine) == ("made", "a test, 1 thread")
    assert summary.measured == "2026-11-21T09:00:00Z"
    assert summary.cells == {"ok": 2, "failed": 1}
    (answer,) = summary.answers
    assert (answer.cell, answer.unit, answer.at) == ("rtn · e", "output tokens/s", "concurrency 1")
    assert answer.value == pytest.approx(20, rel=0.05)
    assert answer.quality == "+5.1 % perplexity, -2.5 % accuracy"


def test_a_run_without_an_answer_says_why(tmp_path: Path) -> None:
    write_summary(conclude(ABOUT, [failed("awq", "it broke")]), tmp_path)
    summary = read_summary(tmp_path)
    assert summary is not None
    assert summary.measured == ""
    assert [answer.refusal for answer in summary.answers] == ["no answer: no measured cell meets the limits"]
    assert summary.answers[0].value is None


def test_there_is_none_where_no_report_was_written(tmp_path: Path) -> None:
    assert read_summary(tmp_path) is None


@pytest.mark.parametrize("damage", ["{", "[]", '{"plan": "x"}', "measured", "cells", "figure", "long"])
def test_a_damaged_summary_is_one_line(tmp_path: Path, damage: str) -> None:
    write_summary(conclude(ABOUT, [trial("none", 10, 2.0, 80)]), tmp_path)
    written = json.loads((tmp_path / "summary.json").read_text())
    changed = {
        "measured": {**written, "measured": "<script>"},
        "cells": {**written, "cells": {"ok": "many"}},
        "figure": {**written, "answers": [{**written["answers"][0], "value": -1.0}]},
        "long": {**written, "plan": "x" * 5000},
    }
    if damage in changed:
        write_json(tmp_path / "summary.json", changed[damage])
    else:
        (tmp_path / "summary.json").write_text(damage)
    with pytest.raises(UnreadableSummary, match=r"^summary\.json: it is damaged .*`bitfrontier report`") as error:
        read_summary(tmp_path)
    assert "\n" not in str(error.value)


def test_an_end_without_bound_is_written_as_json_knows_it(tmp_path: Path) -> None:
    """Of a load that was measured once."""
    once = trial("none", 10, 2.0, 80)
    once = replace(once, speed=(replace(once.speed[0], repeats=once.speed[0].repeats[:1]),))
    write_summary(conclude(ABOUT, [once]), tmp_path)
    assert "Infinity" not in (tmp_path / "summary.json").read_text()
    summary = read_summary(tmp_path)
    assert summary is not None
    assert (summary.answers[0].cell, summary.answers[0].value) == ("none · e", pytest.approx(10, rel=0.05))
