from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from evals.schema.run_file import read_run
from flows.execute.rows import finished
from flows.orchestration.cell_lines import ended_line, remaining, remaining_of_round
from flows.race.contenders import Entry
from quant.canonical_json import write_json
from tests.support.fake_sweep import install, measured, prepared_run
from tests.support.made_trials import failed


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)


def test_a_cell_that_has_ended_is_shown_with_its_figure_and_its_verdict(workplace: Path) -> None:
    prepared = prepared_run(workplace)
    (row,) = prepared.rows
    trial = measured(prepared)
    line = ended_line(prepared, row, trial, 1)
    assert line.startswith("✓ [1/1] none float16 · fake")
    assert " tok/s  baseline" in line
    assert "\n" not in line


def test_the_figure_of_one_visit_has_no_interval(workplace: Path) -> None:
    prepared = prepared_run(workplace)
    trial = measured(prepared)
    speed = replace(trial.speed[0], repeats=trial.speed[0].repeats[:1], clients=trial.speed[0].clients[:1])
    line = ended_line(prepared, prepared.rows[0], replace(trial, speed=(speed,)), 1)
    assert re.search(r" [\d.]+ tok/s \(one visit\)  ", line)
    assert "∞" not in line


def test_a_cell_whose_samples_are_none_of_a_measurement_says_so(workplace: Path) -> None:
    prepared = prepared_run(workplace)
    (row,) = prepared.rows
    trial = measured(prepared)
    requests = [replace(each, end_seconds=1e308, output_tokens=-(2**1000)) for each in trial.speed[0].repeats[0]]
    trial = replace(trial, speed=(replace(trial.speed[0], repeats=(tuple(requests), ())),))
    assert "no figures can be computed of it" in ended_line(prepared, row, trial, 1)


def test_a_failed_cell_is_shown_as_before(workplace: Path) -> None:
    prepared = prepared_run(workplace)
    assert ended_line(prepared, prepared.rows[0], failed("awq", "it broke"), 1).endswith("it broke")


def test_what_is_left_is_what_the_run_forecast(workplace: Path) -> None:
    prepared = prepared_run(workplace)
    noted = read_run(prepared.folder)["forecast"]["cells"]
    (row,) = prepared.rows
    assert remaining(prepared).seconds() == pytest.approx(sum(noted[row.file.name].values()))
    about = read_run(prepared.folder)
    write_json(prepared.folder / "sweep.json", {**about, "forecast": None})
    assert remaining(prepared).seconds() is None


def test_a_round_takes_what_its_cells_took_at_first(workplace: Path) -> None:
    prepared = prepared_run(workplace)
    (row,) = prepared.rows
    assert remaining_of_round([Entry(row)]).seconds() is None
    measured(prepared)
    trial = finished(row)
    assert trial is not None
    once = trial.seconds["start"] + trial.seconds["speed"]
    assert remaining_of_round([Entry(row), Entry(row, control=True)]).seconds() == pytest.approx(2 * once)
