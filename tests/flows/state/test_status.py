from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evals.schema.run_file import NoRun, read_run
from flows.state.locks import hold
from flows.state.status import CellState, cell_states, counts, remaining_seconds, running_lock
from quant.canonical_json import write_json
from tests.support.made_trials import failed, trial


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "runs" / "a"
    cells = [
        {"trial": f"{name}.json", "name": f"{name} · fake", "model": "m", "checkpoint": f"key-{name}"}
        for name in ("done", "broken", "now", "next", "later")
    ]
    (folder / "trials").mkdir(parents=True)
    write_json(folder / "sweep.json", {"cells": cells, "trials": [cell["trial"] for cell in cells]})
    write_json(folder / "trials" / "done.json", replace(trial("rtn", 1.0, 1.0, 1), seconds={"total": 100.0}))
    write_json(folder / "trials" / "broken.json", failed("awq", "no such kernel"))
    return folder


def test_every_cell_has_a_state(run: Path, tmp_path: Path) -> None:
    quantizing = tmp_path / "cache" / "checkpoints" / "key-next.lock"
    with hold(running_lock(run / "trials" / "now.json")), hold(quantizing):
        cells = cell_states(run)
    assert [cell.state for cell in cells] == ["ok", "failed", "measuring", "quantizing", "to do"]
    assert cells[0].seconds == 100.0
    assert cells[1].reason
    assert cells[2].seconds is not None
    assert 0 <= cells[2].seconds < 60
    assert [cell.state for cell in cell_states(run)][2:] == ["to do", "to do", "to do"]
    assert counts(cells) == {"ok": 1, "measuring": 1, "quantizing": 1, "to do": 1, "failed": 1}


def test_what_is_left_is_guessed_from_what_was_measured() -> None:
    def cell(state: str, seconds: float | None) -> CellState:
        return CellState("c", "m", state, seconds, "")  # type: ignore[arg-type]

    cells = [cell("ok", 100.0), cell("ok", 50.0), cell("measuring", 25.0), cell("quantizing", 5.0), cell("to do", None)]
    assert remaining_seconds(cells) == 75 - 25 + 75 + 75
    assert remaining_seconds(cells[2:]) is None


def test_what_is_left_is_as_forecast_before_any_cell_has_ended_and_finished_parts_are_named(run: Path) -> None:
    about = read_run(run)
    for cell in about["cells"]:
        cell["parts"] = {"gates": f"g-{cell['name'][:4]}.json", "task arc": f"t-{cell['name'][:4]}.json", "x": "../x"}
    seconds = {cell["trial"]: {"start": 10.0, "speed": 5.0} for cell in about["cells"]}
    write_json(run / "sweep.json", {**about, "forecast": {"cells": seconds}})
    for file in (run / "trials").glob("*.json"):
        file.unlink()
    (run / "parts").mkdir()
    (run / "parts" / "t-next.json").touch()
    cells = cell_states(run)
    assert remaining_seconds(cells) == 5 * 15.0
    assert {cell.cell: cell.kept_parts for cell in cells if cell.kept_parts} == {"next · fake": ("task arc",)}


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(NoRun, match=r"has no sweep.json; give a run's folder, such as runs/quickstart"):
        read_run(tmp_path)
