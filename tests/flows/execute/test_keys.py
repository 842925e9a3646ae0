"""Keys: which edit of the program, the plan, the data or the machine makes which finished part invalid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.registry import engines_by_name
from engines.telemetry.machine import Machine, this_machine
from evals.data.corpora import WIKITEXT
from flows import versions
from flows.execute import keys
from flows.execute.keys import program_contents
from flows.execute.prepared import Prepared
from quant.registry import Method
from tests.support.fake_sweep import fake_methods, install, prepared_run

GATES, LOAD, TASK = "gates", "load concurrency 1, 4 / 4 tokens", "task arc_easy"
ALL = {GATES, LOAD, TASK, "checkpoint", "server", "answers"}


def _keys(prepared: Prepared) -> dict[str, str]:
    (row,) = prepared.rows
    assert row.job is not None
    assert row.answers is not None
    parts = {part.name: part.key for part in row.parts}
    return {**parts, "checkpoint": row.job.key, "server": row.server_key, "answers": row.answers.stem}


def _changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before | after if before.get(name) != after.get(name)}


@pytest.fixture
def before(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    install(monkeypatch.setattr)
    return _keys(prepared_run(workplace))


def test_nothing_changed_is_nothing_to_measure(before: dict[str, str], workplace: Path) -> None:
    assert _keys(prepared_run(workplace)) == before


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("MEASUREMENT_VERSION", {LOAD}),
        ("SCORING_VERSION", {GATES, TASK}),
        ("READER_VERSION", {GATES, TASK, "answers"}),
        ("REFERENCE_VERSION", {GATES}),
        ("GATES_VERSION", {GATES}),
        ("SERVER_VERSION", ALL - {"checkpoint"}),
        ("CALIBRATION_VERSION", ALL),
    ],
)
def test_a_raised_version_changes_what_it_covers(
    before: dict[str, str], workplace: Path, monkeypatch: pytest.MonkeyPatch, name: str, changed: set[str]
) -> None:
    monkeypatch.setattr(versions, name, getattr(versions, name) + 1)
    assert _changed(before, _keys(prepared_run(workplace))) == changed


def test_a_method_s_own_version_is_in_its_checkpoint(
    before: dict[str, str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def newer() -> dict[str, Method]:
        return {name: replace(method, version=2) for name, method in fake_methods().items()}

    monkeypatch.setattr("flows.validate.methods.methods", newer)
    assert _changed(before, _keys(prepared_run(workplace))) == ALL


@pytest.mark.parametrize("field", [{"flags": "another"}, {"cores": 64.0}, {"memory_gib": 1.5}, {"cpu": "another"}])
def test_another_machine_is_in_every_key_of_what_is_measured(
    before: dict[str, str], workplace: Path, monkeypatch: pytest.MonkeyPatch, field: dict[str, Any]
) -> None:
    machine: Machine = replace(this_machine("cpu"), **field)
    monkeypatch.setattr(keys, "this_machine", lambda _: machine)
    assert _changed(before, _keys(prepared_run(workplace))) == ALL - {"checkpoint"}


def test_variables_that_decide_how_a_server_computes_are_in_its_key(
    before: dict[str, str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMETHING_ELSE", "1")
    assert _keys(prepared_run(workplace)) == before
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # which devices: the machine's record says it
    assert _keys(prepared_run(workplace)) == before
    for name in ("OPENBLAS_CORETYPE", "CUDA_LAUNCH_BLOCKING"):
        monkeypatch.setenv(name, "1")
        assert _changed(before, _keys(prepared_run(workplace))) == ALL - {"checkpoint"}
        monkeypatch.delenv(name)


def test_a_new_load_or_task_is_a_new_part_alone(
    before: dict[str, str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = [
        {"concurrency": 2, "requests": 2, "prompt_tokens": 4, "output_tokens": 4},
        {"concurrency": 1, "requests": 2, "prompt_tokens": 4, "output_tokens": 4},
    ]
    assert _changed(before, _keys(prepared_run(workplace, load=loads))) == {"load concurrency 2, 4 / 4 tokens"}
    (row,) = prepared_run(workplace).rows
    data = {"arc_challenge": "made up", "arc_easy": row.parts[-1].own["data"]}
    monkeypatch.setattr("flows.execute.prepare.data_identities", lambda *_: data)
    tasks = [{"task": "arc_challenge", "limit": 2}, {"task": "arc_easy", "limit": 4}]
    assert _changed(before, _keys(prepared_run(workplace, tasks=tasks))) == {"task arc_challenge"}


def test_other_values_of_the_plan_change_what_reads_them(before: dict[str, str], workplace: Path) -> None:
    def changed(**plan: Any) -> set[str]:
        return _changed(before, _keys(prepared_run(workplace, **plan)))

    assert changed(repeats=3) == {LOAD}
    assert changed(seed=1) == {LOAD, TASK}
    assert changed(tasks=[{"task": "arc_easy", "limit": 3}]) == {TASK}
    assert changed(limits={"equivalence_margin": 0.02}) == set()
    assert changed(max_length=32) == {TASK}  # the gates' texts are longer
    assert changed(max_length=900) == ALL - {"checkpoint"}  # the server has other positions
    assert changed(threads=1) == ALL


def test_the_cores_of_a_machine_are_in_no_checkpoint_s_key(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)

    monkeypatch.setattr("engines.telemetry.device._quotas", list)

    def with_cores(cores: int) -> dict[str, str]:
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
        return _keys(prepared_run(workplace, threads="auto"))

    assert _changed(with_cores(2), with_cores(8)) == ALL - {"checkpoint"}


def test_nothing_is_confirmed_on_a_server_that_nobody_here_starts_anew(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    within = {"over": "concurrency", "highest": 2, "requests": 10, "prompt_tokens": 4, "output_tokens": 4}
    plan = {"slo": {"ttft_ms": 60000, "percentile": 50}, "search": [within | {"level_seconds": 0}]}
    attached = {"engine": "fake", "attach": {"url": "http://127.0.0.1:9"}}
    for engine, confirmed in (({"engine": "fake"}, True), (attached, False)):
        (row,) = prepared_run(workplace, engines=[engine], **plan).rows
        names = [part.name for part in row.parts]
        assert "search concurrency, 4 / 4 tokens" in names
        assert ("search concurrency, 4 / 4 tokens, confirmed" in names) is confirmed


def test_another_file_in_the_data_root_changes_nothing(before: dict[str, str], workplace: Path) -> None:
    (workplace / "root" / "notes.txt").write_text("mine")
    assert _keys(prepared_run(workplace)) == before


def test_what_a_baseline_chose_has_its_key(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    plan = {"methods": [{"method": "none"}, {"method": "raises"}]}

    def tasks(**changes: Any) -> list[str]:
        prepared = prepared_run(workplace, **plan, **changes)
        return [part.own.get("baseline", "") for row in prepared.rows for part in row.parts if part.name == TASK]

    assert tasks() == ["", ""]
    baseline, candidate = tasks(accuracy={"budget": "adaptive"})
    prepared = prepared_run(workplace, **plan, accuracy={"budget": "adaptive"})
    assert (baseline, candidate) == ("", next(p.key for p in prepared.rows[0].parts if p.name == TASK))


def test_every_window_of_a_convention_is_in_the_key(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    monkeypatch.setattr("flows.validate.tasks.reads_wikitext", lambda _: [])
    data = {"arc_easy": "made up", WIKITEXT: "made up"}
    monkeypatch.setattr("flows.execute.prepare.data_identities", lambda *_: data)
    seen = set()
    for sizes in ((32,), (16, 32), (24, 32)):
        windows = [{"convention": "papers", "max_length": size} for size in sizes]
        (row,) = prepared_run(workplace, perplexity=windows).rows
        seen.add(row.parts[-1].key)
    assert len(seen) == 3


def test_another_program_under_the_same_path_is_another_server(tmp_path: Path) -> None:
    engine = engines_by_name()["llama_cpp"]
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    contents = program_contents(engine.options, {"parallel": 8, "executable": str(program)})
    assert [*contents] == ["program executable"]
    program.write_text("#!/bin/sh\nexit 4\n")
    assert program_contents(engine.options, {"executable": str(program)}) != contents
    assert program_contents(engine.options, {"executable": ""}) == {}
    assert program_contents(engine.options, {"executable": str(tmp_path / "none")}) == {}
