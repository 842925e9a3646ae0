"""Which server a part was measured in: another one behind an address, a second session, a fresh one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.execute import measure_cell
from flows.execute.worker_process import Here
from flows.state.progress_display import LogDisplay
from tests.support.emulator import Handler, emulate
from tests.support.fake_sweep import TWO_USERS, install, measured, parts, prepared_run, write_plan, written

QUIET = LogDisplay(lambda _: None)


def test_parts_of_two_servers_behind_one_address_are_never_mixed(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch.setattr)
    loads = [yaml.safe_load(write_plan(workplace, ["none"]).read_text())["load"][0], TWO_USERS]

    def at_a_server(version: str, load: list[dict[str, int]]) -> set[str]:
        """What the parts of the trial that a server of this version measures last say of their server."""
        monkeypatch.setattr(Handler, "about", {"/version": {"version": version}})
        trial = measured(prepared_run(workplace, engines=engines, load=load))
        assert trial.status == "ok", trial.reason
        return {origin["attached_server"] for origin in trial.provenance["parts"].values()}

    with emulate("good") as url:
        engines = [{"engine": "fake", "attach": {"url": url, "key_variable": "THEIR_KEY"}}]
        monkeypatch.setenv("THEIR_KEY", "key")
        assert at_a_server("1", loads[:1]) == {"version 1"}
        assert at_a_server("2", loads[1:]) == {"version 2"}  # the task too, which the first one had answered
        assert at_a_server("3", loads) == {"version 3"}  # all parts are there, of two servers
        before = written(workplace)
        assert at_a_server("3", loads[::-1]) == {"version 3"}
    assert written(workplace) == before
    assert "is another server now (version 2) than before (version 1): measured again: gates, task arc" in caplog.text


def test_another_server_in_the_second_session_fails_the_cell(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a load balancer: the parts of two servers would never make a trial."""
    install(monkeypatch.setattr)
    numbers, reach = itertools.count(1), measure_cell.reach

    def balanced(*arguments: Any) -> Any:
        monkeypatch.setattr(Handler, "about", {"/version": {"version": str(next(numbers))}})
        return reach(*arguments)

    monkeypatch.setattr(measure_cell, "reach", balanced)
    monkeypatch.setenv("THEIR_KEY", "key")
    with emulate("good") as url:
        prepared = prepared_run(
            workplace, engines=[{"engine": "fake", "attach": {"url": url, "key_variable": "THEIR_KEY"}}]
        )
        (row,) = prepared.rows
        row = replace(row, parts=(*row.parts[:-1], replace(row.parts[-1], again=True)))
        trial = Here(replace(prepared, rows=(row,))).measure(row, QUIET)
    assert trial.failure is not None
    assert trial.failure.kind == "unreachable-server"
    assert "another server answered: version 1, then version 2. Attach to one server's own address" in trial.reason


def test_what_a_search_found_is_confirmed_on_a_server_that_was_started_anew(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    logs: list[str] = []
    reach = measure_cell.reach

    def counted(*arguments: Any) -> Any:
        logs.append(arguments[-1].name)
        return reach(*arguments)

    monkeypatch.setattr(measure_cell, "reach", counted)
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
