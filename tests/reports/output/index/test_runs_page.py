from __future__ import annotations

import os
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

import reports.output.index.runs_page as runs_page
from quant.canonical_json import write_json
from reports.decision.results import read_results
from reports.output.index.run_summary import UnreadableSummary, read_summary, write_summary
from reports.output.index.runs_page import INDEX_FILE, write_index, write_report_and_index
from tests.support.accessibility import violations
from tests.support.browser import Opened, needs_chromium
from tests.support.made_runs import write_run
from tests.support.made_trials import trial

EVIL = "<script>alert(1)</script>"


def _run(folder: Path, day: int, rate: float = 10.0, **about: Any) -> Path:
    """A run of one day, with its summary."""
    origin = {"measured": {"started": f"2026-11-{day:02d}T08:00:00Z"}}
    run = write_run(folder, replace(trial("none", rate, 2.0, 80), provenance=origin), **about)
    write_summary(read_results(run), run)
    return run


def _page(runs: Path) -> str:
    write_index(runs)
    return (runs / INDEX_FILE).read_text(encoding="utf-8")


def _rows(page: str) -> list[str]:
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    return [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in body.split("<tr>")[1:]]


def test_all_runs_are_there_newest_first(tmp_path: Path) -> None:
    for name, day in (("b", 20), ("a", 22), ("c", 21)):
        _run(tmp_path / name, day, name=name)
    (tmp_path / "a" / "report.html").write_text("the report")
    page = _page(tmp_path)
    rows = _rows(page)
    assert [row[0] for row in rows] == ["a", "c", "b"]
    assert '<a href="a/report.html">a</a>' in page
    assert "b/report.html" not in page
    assert "2026-11-22 08:00" in rows[0]
    assert "none · e : 10.0" in rows[0]
    assert "cells: 1 ok" in rows[0]


def test_a_run_is_held_against_the_one_before_it_of_the_same_plan(tmp_path: Path) -> None:
    for name, day, rate in (("old", 19, 5.0), ("new", 21, 20.0), ("between", 20, 10.0)):
        _run(tmp_path / name, day, rate, name="plan")
    _run(tmp_path / "another", 22, 99.0, name="another")
    rows = {row.split()[0]: row for row in _rows(_page(tmp_path))}
    assert rows["new"].endswith("against between 2.00 × its output tokens/s; the same cell")
    assert rows["between"].endswith("against old 2.00 × its output tokens/s; the same cell")
    assert "against" not in rows["old"]
    assert "against" not in rows["another"]


def test_a_copy_and_another_machine_are_not_compared(tmp_path: Path) -> None:
    _run(tmp_path / "first", 20, name="plan")
    _run(tmp_path / "copy", 20, name="plan")
    _run(tmp_path / "moved", 21, 20.0, name="plan", device="another")
    rows = {row.split()[0]: row for row in _rows(_page(tmp_path))}
    assert "against" not in rows["first"] + rows["copy"]
    assert "not compared: measured on another machine" in rows["moved"]


def test_another_cell_load_or_quality_is_said(tmp_path: Path) -> None:
    summary = {"plan": "plan", "machine": "m", "cells": {"ok": 1}}
    answer = {"model": "m", "cell": "a · e", "figure_text": "10 tok", "value": 10.0}
    answer |= {"unit": "output tokens/s", "at": "concurrency 1", "quality": "+1.0 % perplexity"}
    other = {"cell": "b · e", "quality": "+2.0 % perplexity"}
    answers = {1: answer, 2: answer | other, 3: answer | {"at": "concurrency 4"}, 4: {"model": "m", "refusal": "no"}}
    for day, given in {**answers, 5: answer}.items():
        run = _run(tmp_path / f"day{day}", day, name="plan")
        write_json(run / "summary.json", {**summary, "measured": f"2026-11-{day:02d}T08:00:00Z", "answers": [given]})
    rows = {row.split()[0]: row for row in _rows(_page(tmp_path))}
    assert "was a · e; quality lost +2.0 % perplexity, was +1.0 % perplexity" in rows["day2"]
    assert "was 10 tok (another figure); was b · e" in rows["day3"]
    assert rows["day4"].endswith("was a · e")
    assert rows["day5"].endswith("was no recommendation")


def test_damaged_and_older_runs_are_rows_with_the_reason_and_others_are_none(tmp_path: Path) -> None:
    _run(tmp_path / "good", 20)
    for name, text in (("damaged", "{"), ("foreign", '{"trials": 1}'), ("newer", '{"trials": [], "schema": 10000}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sweep.json").write_text(text)
    write_run(tmp_path / "older", trial("none", 10, 2.0, 80))
    (_run(tmp_path / "broken", 19) / "summary.json").write_text("[]")
    os.mkfifo(_run(tmp_path / "pipe", 18) / "x")
    (tmp_path / "pipe" / "summary.json").unlink()
    os.mkfifo(tmp_path / "pipe" / "summary.json")
    (tmp_path / "no run").mkdir()
    (tmp_path / "a file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "good")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "sweep.json").symlink_to(tmp_path / "good" / "sweep.json")
    rows = {row.split()[0]: row for row in _rows(_page(tmp_path))}
    assert set(rows) == {"good", "damaged", "foreign", "older", "broken", "pipe"} | ({"newer"} & set(rows))
    assert "damaged/sweep.json: it is damaged" in rows["damaged"]
    assert str(tmp_path) not in "".join(rows.values())
    assert "names no trials" in rows["foreign"]
    assert "no summary: no report yet" in rows["older"]
    assert "summary.json: it is damaged" in rows["broken"]
    assert "it is not a regular file" in rows["pipe"]


def test_words_of_a_run_are_text(tmp_path: Path) -> None:
    _run(tmp_path / f"a {EVIL.replace('/', '')} & \x1b[31m", 20, name=f"plan {EVIL}", models=[EVIL], device=EVIL)
    page = _page(tmp_path)
    assert "<script" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'; style-src 'unsafe-inline'" in page


def test_a_run_without_a_date_is_last_whenever_it_was_copied(tmp_path: Path) -> None:
    _run(tmp_path / "old", 2)
    run = write_run(tmp_path / "undated", trial("none", 10, 2.0, 80))
    write_summary(read_results(run), run)
    _run(tmp_path / "new", 3)
    rows = _rows(_page(tmp_path))
    assert [row.split()[0] for row in rows] == ["new", "old", "undated"]
    assert "date unknown" in rows[-1]


def test_a_link_in_the_place_of_a_summary_is_not_followed(tmp_path: Path) -> None:
    other = _run(tmp_path / "elsewhere", 20, name="a secret")
    run = _run(tmp_path / "runs" / "run", 21)
    (run / "summary.json").unlink()
    (run / "summary.json").symlink_to(other / "summary.json")
    with pytest.raises(UnreadableSummary, match=r"^summary\.json is a link, which is not followed\. Delete it, then "):
        read_summary(run)
    page = _page(tmp_path / "runs")
    assert "a secret" not in page
    assert "summary.json is a link, which is not followed" in page


@needs_chromium
def test_long_names_leave_room_for_what_is_said_of_the_others(browser: Browser, tmp_path: Path) -> None:
    _run(tmp_path / ("n" * 250), 20, name="p" * 100_000, models=["m" * 100_000], device="d" * 100_000)
    _run(tmp_path / "run", 21)
    page = _page(tmp_path)
    assert len(page) < 50_000
    opened = Opened(browser, tmp_path / INDEX_FILE, viewport={"width": 1280, "height": 800})
    box = opened.page.locator("tbody tr").first.locator("td").last.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 1280


def test_what_is_to_be_typed_is_shown_as_code(tmp_path: Path) -> None:
    _run(tmp_path / "run", 20)
    assert "Add <code>race: {}</code> to measure the variation" in _page(tmp_path)


def test_a_page_that_is_not_ours_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _run(tmp_path / "run", 20)
    (tmp_path / INDEX_FILE).write_text("my own page")
    write_index(tmp_path)
    assert (tmp_path / INDEX_FILE).read_text() == "my own page"
    assert "the existing file is not from bitfrontier" in caplog.text
    (tmp_path / INDEX_FILE).unlink()
    (tmp_path / INDEX_FILE).mkdir()
    write_index(tmp_path)
    assert "index.html was not written" in caplog.text


def test_a_report_is_written_where_the_page_of_runs_cannot_be(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", trial("none", 10, 2.0, 80))
    (tmp_path / INDEX_FILE).mkdir()
    assert write_report_and_index(run) == run / "report.html"
    (tmp_path / INDEX_FILE).rmdir()
    write_report_and_index(run)
    assert '<a href="run/report.html">run</a>' in (tmp_path / INDEX_FILE).read_text()


def test_a_report_that_is_written_meanwhile_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(tmp_path / "first", 20)
    render = runs_page.render_runs

    def slow(*arguments: Any) -> str:
        if not (tmp_path / "second").exists():
            _run(tmp_path / "second", 21)  # after the folder was read
        return render(*arguments)

    monkeypatch.setattr(runs_page, "render_runs", slow)
    assert [row.split()[0] for row in _rows(_page(tmp_path))] == ["second", "first"]


def test_many_writers_leave_a_whole_page(tmp_path: Path) -> None:
    for day in range(1, 9):
        _run(tmp_path / f"run{day}", day)
    writers = [threading.Thread(target=write_index, args=(tmp_path,)) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(_rows((tmp_path / INDEX_FILE).read_text())) == 8
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_of_very_many_runs_the_newest_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_page, "MOST_RUNS", 2)
    for day in (1, 2, 3):
        run = _run(tmp_path / f"run{day}", day)
        os.utime(run / "sweep.json", (day, day))
    page = _page(tmp_path)
    assert [row.split()[0] for row in _rows(page)] == ["run3", "run2"]
    assert "1 older run is not shown" in page


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_asks_for_nothing_and_axe_finds_nothing(
    browser: Browser, tmp_path: Path, scheme: Any, width: int
) -> None:
    for name, day, rate in (("old", 19, 5.0), ("new", 21, 20.0)):
        (_run(tmp_path / name, day, rate, name="plan") / "report.html").write_text("r")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "sweep.json").write_text("{")
    write_index(tmp_path)
    opened = Opened(browser, tmp_path / INDEX_FILE, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert opened.page.locator("tbody tr").count() == 3
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.faults == []
    assert violations(opened) == []
