"""A cell is measured in parts: what is finished is kept, what is new is measured, what is stale says why."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from evals.schema.part import find_part, part_file
from evals.schema.trial import Trial
from flows import versions
from flows.execute import measure_cell, rows, served_parts
from flows.execute.manifest import describe
from flows.execute.prepare import prepare_sweep, stale_rows
from flows.execute.spec import load_sweep_tasks
from flows.execute.worker_process import Here
from flows.state.progress_display import LogDisplay
from quant.hashing import digest
from quant.types import Checkpoint
from tests.support.fake_sweep import TWO_USERS, install, measured, parts, prepared_run, write_plan, written

QUIET = LogDisplay(lambda _: None)


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
    assert {gate.name for gate in first.gates} == {"source's grid", "golden prompt", "sanity", "whole contexts"}
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


def test_a_trial_of_older_parts_has_their_commit_and_bandwidth(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    loads = [yaml.safe_load(write_plan(workplace, ["none"]).read_text())["load"][0], TWO_USERS]
    monkeypatch.setattr(rows, "commit", lambda: "before")
    measured(prepared_run(workplace, load=loads))
    monkeypatch.setattr(rows, "commit", lambda: "today")
    monkeypatch.setattr(rows, "memory_bandwidth", lambda *_: pytest.fail("nothing is measured"))
    trial = measured(prepared_run(workplace, load=loads[:1]))
    assert trial.provenance["commit"] == "before"
    assert trial.provenance["bandwidth"]["bytes_per_second"] == 1e10
    origins = trial.provenance["parts"]
    assert {origin["commit"] for origin in origins.values()} == {"before"}
    assert [name for name, origin in origins.items() if "bandwidth" in origin] == ["load concurrency 1, 4 / 4 tokens"]
    tasks = [{"task": "arc_easy", "limit": 3}]
    assert measured(prepared_run(workplace, load=loads[1:], tasks=tasks)).provenance["commit"] == "today, before"


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
    (result,) = stale_rows(prepared).values()
    assert result.reasons == ("MEASUREMENT_VERSION 1 → 2",)
    assert result.parts == ("load concurrency 1, 4 / 4 tokens",)
    assert result.line == (
        "stale: none float16 · fake: MEASUREMENT_VERSION 1 → 2 (measures again: load concurrency 1, 4 / 4 tokens)"
    )
    sweep = replace(prepared.sweep, keep_stale=True)
    prepared_again = prepare_sweep(sweep, list(prepared.environments.values()), prepared.folder.parent, QUIET)
    trial = rows.finished(prepared_again.rows[0])
    assert trial is not None
    assert trial.key == first.key
    describe(prepared_again)
    about = json.loads((workplace / "runs" / "fake" / "sweep.json").read_text())
    assert about["stale"] == {prepared_again.rows[0].file.name: ["MEASUREMENT_VERSION 1 → 2"]}
    assert stale_rows(prepared_again) == {}


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
    (result,) = stale_rows(prepared).values()
    assert result.reasons == ("it was measured by a version that did not record its key",)


def test_a_part_that_is_gone_before_the_trial_is_written_fails_the_cell(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    monkeypatch.setattr(measure_cell, "assembled", lambda *_: None)
    assert "a part of the cell is missing in" in measured(prepared_run(workplace)).reason


def test_a_damaged_part_counts_as_missing(first: Trial, workplace: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, key = workplace / "runs" / "fake" / "parts", first.parts["task arc_easy"]
    file = folder / part_file(key)
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
        assert stale_rows(prepared) == {}, field


def _with_options(row: rows.Row, **options: Any) -> rows.Row:
    """The row as if its engine had these options."""
    server = {**row.parts[0].server, **{f"option {name}": json.dumps(value) for name, value in options.items()}}
    parts = tuple(replace(part, server=server) for part in row.parts)
    cell = replace(row.cell, choice=replace(row.cell.choice, options=options))
    key = digest(options)
    return replace(row, cell=cell, parts=parts, key=key, file=row.file.with_name(f"{row.slug}-{key[:12]}.json"))


def test_options_that_an_older_program_did_not_have_leave_its_results_stale_and_not_lost(
    first: Trial, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "MEASUREMENT_VERSION", versions.MEASUREMENT_VERSION + 1)
    prepared = prepared_run(workplace)
    (file,) = (workplace / "runs" / "fake" / "trials").glob("*.json")
    raw = json.loads(file.read_text())
    known = {"dtype": "auto", "tensor_parallel": 1}
    raw["provenance"]["engine_options"] = known
    raw["inputs"]["server"] |= {f"option {name}": json.dumps(value) for name, value in known.items()}
    file.write_text(json.dumps(raw))
    (row,) = prepared.rows
    auto = _with_options(row, **known, max_num_seqs=None)
    explicit = _with_options(row, **{**known, "dtype": "float32"}, max_num_seqs=None)
    other = _with_options(row, **{**known, "tensor_parallel": 2}, max_num_seqs=None)

    def reasons(*of: rows.Row) -> dict[str, tuple[str, ...]]:
        stale = stale_rows(replace(prepared, rows=of))
        return {key: result.reasons for key, result in stale.items()}

    shared = ("option max_num_seqs none → null", "MEASUREMENT_VERSION 1 → 2")
    assert reasons(auto) == {auto.key: shared}
    assert reasons(explicit) == {explicit.key: ('option dtype "auto" → "float32"', *shared)}
    assert reasons(other) == {}
    assert reasons(explicit, auto) == {auto.key: shared}  # which no cell may share
    raw["facts"]["dtype"] = "float16"  # what `auto` was on that day
    file.write_text(json.dumps(raw))
    assert reasons(explicit) == reasons(auto) == {}


ADAPTIVE = {"methods": [{"method": "none"}, {"method": "raises"}], "accuracy": {"budget": "adaptive"}}


@pytest.mark.parametrize(
    ("keep_stale", "words"),
    [
        (False, "adaptive budget of task arc_easy needs .* result of none float16 · fake is not here"),
        (True, "result of none float16 · fake is stale and kept"),
    ],
)
def test_an_adaptive_cell_without_its_baseline_fails_and_is_not_scored_in_full(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, keep_stale: bool, words: str
) -> None:
    install(monkeypatch.setattr)
    before = prepared_run(workplace, **ADAPTIVE)
    made = Here(before).quantize(before.rows[0], QUIET)  # served as the candidate's, too
    tasks = load_sweep_tasks(before.sweep)
    assert isinstance(made, Checkpoint)
    if keep_stale:
        assert rows.measure_row(before, before.rows[0], made, tasks, QUIET).status == "ok"
        monkeypatch.setattr(versions, "SCORING_VERSION", versions.SCORING_VERSION + 1)
    environments, runs = list(before.environments.values()), before.folder.parent
    prepared = prepare_sweep(replace(before.sweep, keep_stale=keep_stale), environments, runs, QUIET)
    trial = rows.measure_row(prepared, prepared.rows[1], made, tasks, QUIET)
    assert (trial.status, trial.failure and trial.failure.kind) == ("failed", "missing-baseline")
    assert re.search(words, trial.reason)
    for row in prepare_sweep(before.sweep, environments, runs, QUIET).rows:  # once the baseline is measured
        fresh = replace(prepared, rows=prepare_sweep(before.sweep, environments, runs, QUIET).rows)
        trial = rows.measure_row(fresh, row, made, tasks, QUIET)
        assert (trial.status, trial.reason) == ("ok", "")
