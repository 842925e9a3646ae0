"""A report that mixes hosts or days says so, on the page and in the terminal in the same words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from evals.schema.trial import Trial
from reports.decision.results import read_results
from reports.output.html_report import contents, render
from reports.output.json_data import as_data
from reports.output.terminal.summary import print_results
from reports.sections.origins import kept_stale, mixed_origins
from tests.support.made_runs import write_run
from tests.support.made_trials import failed, trial


def _at(made: Trial, started: str, host: str) -> Trial:
    return replace(made, provenance={"measured": {"started": started, "place": 0, "host": host, "cpu": "a CPU"}})


BASE, OTHER = trial("none", 10, 2.0, 80), trial("rtn", 20, 1.0, 79)


def test_a_run_of_one_host_and_day_says_nothing() -> None:
    cells = _at(BASE, "2026-11-21T08:00:00Z", "aa"), _at(OTHER, "2026-11-21T23:59:59Z", "aa")
    assert mixed_origins(cells) == ()
    assert mixed_origins((BASE, OTHER)) == ()  # of older programs: not known
    assert mixed_origins((BASE, cells[1], _at(failed("awq", "no"), "2026-11-25T08:00:00Z", "bb"))) == ()


def test_hosts_and_days_are_named_on_page_and_terminal(tmp_path: Path) -> None:
    cells = _at(BASE, "2026-11-21T08:00:00Z", "aa"), _at(OTHER, "2026-11-22T08:00:00Z", "bb")
    results = read_results(write_run(tmp_path, *cells))
    hosts, days = results.warnings
    assert hosts == ("the cells were measured on 2 hosts (aa (a CPU), bb (a CPU)): speeds may differ by host")
    assert days.startswith("the cells were measured on 2 days (UTC), 2026-11-21, 2026-11-22: ")
    page, console = render(contents(results), {}), Console(record=True, width=300)
    print_results(results, console)
    text = console.export_text()
    assert f">Mixed origins (2)</span> {hosts}</summary><p>{days}</p>" in page
    for warning in (hosts, days):
        assert f"Warning: {warning}\n" in text
    assert as_data(results)["warnings"] == [hosts, days]
    assert as_data(results)["cells"][0]["measured"]["host"] == "aa"


def test_machines_that_differ_are_named_by_what_differs() -> None:
    cells = [
        replace(made, provenance={"machine": {"cpu": "a CPU", "cores": cores}})
        for made, cores in ((BASE, 2), (OTHER, 4))
    ]
    assert mixed_origins(cells) == (
        "the cells were measured on machines that differ in cores 2, 4: their speeds cannot be compared",
    )
    assert mixed_origins(cells[:1]) == ()


def test_days_of_parts_count() -> None:
    days = [{"started": f"2026-11-2{day}T08:00:00Z", "host": "aa"} for day in (1, 2)]
    cell = replace(BASE, provenance={"measured": days[0], "parts": {"load": days[1]}})
    assert mixed_origins([cell])[0].startswith("the cells were measured on 2 days (UTC), 2026-11-21, 2026-11-22: ")


def test_a_stale_result_that_was_kept_is_named() -> None:
    about = {"cells": [{"trial": "a.json", "name": "gptq · vllm"}], "stale": {"a.json": ["MEASUREMENT_VERSION 3 → 4"]}}
    assert kept_stale(about) == (
        "gptq · vllm keeps a stale result. A new measurement would differ: MEASUREMENT_VERSION 3 → 4",
    )
    assert kept_stale({}) == ()
