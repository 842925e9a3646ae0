"""A cell is measured in parts: what is finished is kept, what is new is measured, what is stale says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from evals.schema.part import find_part
from evals.schema.trial import Trial
from flows import versions
from flows.execute import measure_cell, rows, served_parts
from flows.execute.manifest import describe
from flows.execute.prepared import Prepared
from flows.execute.worker_process import Here
from flows.state.progress_display import LogDisplay
from tests.support.fake_sweep import install, prepared_run

QUIET = LogDisplay(lambda _: None)
TWO_USERS = {"concurrency": 2, "requests": 2, "prompt_tokens": 4, "output_tokens": 4}


def measured(prepared: Prepared) -> Trial:
    (row,) = prepared.rows
    return rows.finished(row) or Here(prepared).measure(row, QUIET)


def parts(prepared: Prepared) -> dict[str, str]:
    return {part.name: part.key for part in prepared.rows[0].parts}


def written(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in (folder / "runs" / "fake" / "parts").glob("*.json")}


@pytest.fixture
def first(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Trial:
    install(monkeypatch.setattr)
    return measured(prepared_run(workplace))


def test_a_trial_is_its_parts_with_what_decided_them(first: Trial, workplace: Path) -> None:
    assert (first.status, first.reason) == ("ok", "")
    assert list(first.parts) == ["gates", "load concurrency 1, 4 / 4 tokens", "task arc_easy"]
    assert set(first.inputs) == {"server", *first.parts}
    assert first.inputs["server"]["SERVER_VERSION"] == str(versions.SERVER_VERSION)
    assert first.inputs["task arc_easy"]["task limit"] == "4"
    assert first.provenance["machine"]["cores"] > 0
    assert {gate.name for gate in first.gates} == {"golden prompt", "sanity", "whole contexts"}
    for name, key in first.parts.items():
        part = find_part(workplace / "runs" / "fake" / "parts", key)
        assert part is not None
        assert part.name == name
        assert part.inputs == {**first.inputs["server"], **first.inputs[name]}


def test_another_load_measures_that_load_alone(first: Trial, workplace: Path) -> None:
    before = written(workplace)
    loads = [TWO_USERS, yaml.safe_load((workplace / "plan.yaml").read_text())["load"][0]]
    trial = measured(prepared_run(workplace, load=loads))
    assert [speed.load.concurrency for speed in trial.speed] == [2, 1]
    assert trial.speed[1] == first.speed[0]
    assert trial.scores == first.scores
    new = {name for name, at in written(workplace).items() if before.get(name) != at}
    assert len(new) == 2  # the load, and the gates of the server that was started for it
    assert trial.memory is not None


def test_a_load_less_measures_nothing(first: Trial, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = [yaml.safe_load((workplace / "plan.yaml").read_text())["load"][0], TWO_USERS]
    both = measured(prepared_run(workplace, load=loads))
    prepared = prepared_run(workplace, load=[TWO_USERS])
    trial = rows.finished(prepared.rows[0])
    assert trial is not None
    assert trial.speed == both.speed[1:]


def test_a_cell_that_failed_goes_on_with_what_it_has(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    tasks = served_parts.score_task

    def fails(*_: Any) -> Any:
        raise ValueError("this task has no luck")

    monkeypatch.setattr(served_parts, "score_task", fails)
    prepared = prepared_run(workplace)
    assert measured(prepared).status == "failed"
    before = written(workplace)
    assert len(before) == 2
    monkeypatch.setattr(served_parts, "score_task", tasks)
    prepared.rows[0].file.unlink()
    assert measured(prepared).status == "ok"
    after = written(workplace)
    assert len(after) == 3
    assert len(before.items() & after.items()) == 1  # the load, not the gates of the new server


def test_a_stale_result_says_why_and_can_be_kept(
    first: Trial, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = parts(prepared_run(workplace))
    monkeypatch.setattr(versions, "MEASUREMENT_VERSION", versions.MEASUREMENT_VERSION + 1)
    prepared = prepared_run(workplace)
    changed = {name for name, key in parts(prepared).items() if before[name] != key}
    assert changed == {"load concurrency 1, 4 / 4 tokens"}
    (result,) = rows.stale_rows(prepared).values()
    assert result.reasons == ("MEASUREMENT_VERSION 1 → 2",)
    assert result.parts == ("load concurrency 1, 4 / 4 tokens",)
    assert result.line == (
        "stale: none float16 · fake: MEASUREMENT_VERSION 1 → 2 (measures again: load concurrency 1, 4 / 4 tokens)"
    )
    prepared_again = rows.keep_stale(prepared)
    trial = rows.finished(prepared_again.rows[0])
    assert trial is not None
    assert trial.key == first.key
    describe(prepared_again)
    about = json.loads((workplace / "runs" / "fake" / "sweep.json").read_text())
    assert about["stale"] == {prepared_again.rows[0].file.name: ["MEASUREMENT_VERSION 1 → 2"]}
    assert rows.stale_rows(prepared_again) == {}


def test_a_result_without_inputs_is_stale_for_that(first: Trial, workplace: Path) -> None:
    prepared = prepared_run(workplace)
    file = prepared.rows[0].file
    raw = json.loads(file.read_text())
    file.with_name(f"{prepared.rows[0].slug}-{'0' * 12}.json").write_text(
        json.dumps({**raw, "parts": {}, "inputs": {}, "key": "0" * 64})
    )
    file.unlink()
    for part in (workplace / "runs" / "fake" / "parts").glob("*"):
        part.unlink()
    (result,) = rows.stale_rows(prepared).values()
    assert result.reasons == ("it was measured by a program that did not note what decides a result",)


def test_a_part_that_is_gone_before_the_trial_is_written_fails_the_cell(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    monkeypatch.setattr(measure_cell, "assembled", lambda *_: None)
    assert "a part of the cell is gone from" in measured(prepared_run(workplace)).reason


def test_a_damaged_part_counts_as_missing(first: Trial, workplace: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, key = workplace / "runs" / "fake" / "parts", first.parts["task arc_easy"]
    (file,) = folder.glob(f"*-{key[:12]}.json")
    for text in (file.read_text()[:-40], "[]"):
        file.write_text(text)
        assert find_part(folder, key) is None
    assert "is damaged and counts as missing" in caplog.text


def test_another_cells_result_is_never_kept_for_it(
    first: Trial, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of files are cut: those of two cells may begin alike."""
    monkeypatch.setattr(versions, "MEASUREMENT_VERSION", versions.MEASUREMENT_VERSION + 1)
    prepared = prepared_run(workplace)
    (file,) = (workplace / "runs" / "fake" / "trials").glob("*.json")
    for field, value in (("method_label", "other"), ("engine", "other"), ("model", "other")):
        file.write_text(json.dumps({**json.loads(file.read_text()), field: value}))
        assert rows.stale_rows(prepared) == {}, field


def test_what_a_search_found_is_confirmed_on_a_server_that_was_started_anew(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    logs: list[str] = []
    reach = measure_cell._reach

    def counted(*arguments: Any) -> Any:
        logs.append(arguments[-1].name)
        return reach(*arguments)

    monkeypatch.setattr(measure_cell, "_reach", counted)
    within = {"over": "concurrency", "highest": 2, "requests": 10, "prompt_tokens": 4, "output_tokens": 4}
    plan = {"slo": {"ttft_ms": 60000, "percentile": 50}, "search": [within | {"level_seconds": 0}]}
    prepared = prepared_run(workplace, **plan)
    trial = measured(prepared)
    assert (trial.status, trial.reason) == ("ok", "")
    (search,) = trial.searches
    assert [speed.load.concurrency for speed in (*search.probes, *search.confirmed)] == [1, 2, 2]
    assert len(logs) == len(set(logs)) == 2
    name = "search concurrency, 4 / 4 tokens"
    assert {name, f"{name}, confirmed"} <= parts(prepared).keys()
    assert trial.inputs[f"{name}, confirmed"]["session"] == "fresh"
