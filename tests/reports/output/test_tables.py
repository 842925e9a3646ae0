"""The tables of cells in Chromium: sorted, filtered, with chosen columns, copied; and what leads from them to evidence."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from playwright.sync_api import Browser, Page

from reports.decision.results import read_results
from reports.output.html_report import write_report
from tests.support.accessibility import violations
from tests.support.browser import Opened, needs_chromium
from tests.support.made_trials import failed, trial
from tests.support.planted_page import write_page_run

pytestmark = needs_chromium

SHOWN = """(name) => [...document.querySelectorAll(`#table-${name} tbody tr`)].filter((row) => !row.hidden)
  .map((row) => [...row.cells].filter((cell) => cell.checkVisibility()).map(textOf))"""
COPIED = (
    "Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => { window.copied = text; } } })"
)
HOSTILE = "=1|+<b>`*_[x](y)"


def _shown(page: Page, name: str = "cells") -> list[list[str]]:
    rows: list[list[str]] = page.evaluate(SHOWN, name)
    return rows


def _head(page: Page, title: str) -> int:
    names: list[str] = page.evaluate("TABLES.get('cells').names")
    return names.index(title)


def test_a_column_is_sorted_by_pointer_and_by_keys_and_back(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    page = opened.page
    planned = _shown(page)
    place = _head(page, "output tokens/s")
    button = page.get_by_role("region", name="All cells").get_by_role("button", name="output tokens/s")
    head = page.locator("#table-cells thead th").nth(place)
    button.click()
    assert head.get_attribute("aria-sort") == "descending"  # the best first
    rates = [float(row[place].split()[0]) for row in _shown(page) if len(row) > 3]
    assert rates == sorted(rates, reverse=True)
    assert _shown(page)[-1][0] == "broke · e"  # what has no figure comes last
    button.focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(row[place].split()[0]) for row in _shown(page) if len(row) > 3] == rates[::-1]
    assert _shown(page)[-1][0] == "broke · e"
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") is None
    assert _shown(page) == planned
    page.get_by_role("region", name="All cells").get_by_role("button", name=re.compile("^cell")).click()
    names = [row[0] for row in _shown(page)]
    assert names == sorted(names, key=str.casefold)
    assert opened.faults == []


def test_rows_are_filtered_by_words_and_by_the_page_s_filters(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    page = opened.page
    everything = _shown(page)
    tools = page.locator(".tools", has=page.locator("[name='cells-1']"))
    tools.get_by_label("Filter").fill("VLLM rtn")
    names = [row[0] for row in _shown(page)]
    assert 0 < len(names) < len(everything)
    assert all("vllm" in name and "rtn" in name for name in names)
    assert tools.get_by_role("status").inner_text() == f"{len(names)} of {len(everything)} rows"
    tools.get_by_label("Filter").fill("it broke")
    assert [row[0] for row in _shown(page)] == ["broke · e"]
    tools.get_by_label("Filter").fill("")
    page.get_by_role("group", name="Engines shown").get_by_role("button", name="vllm").click()
    opened.settle()
    for table in ("cells", "loads"):
        names = [row[0] for row in _shown(page, table)]
        assert names
        assert not [name for name in names if "vllm" in name]
    assert opened.faults == []


def test_columns_are_chosen_and_what_is_shown_is_copied(browser: Browser, tmp_path: Path) -> None:
    cells = [
        trial("none", 10, 2.0, 80),
        trial("rtn", 20, 1.0, 79, 2.01, label=HOSTILE),
        failed("awq", f"{HOSTILE}\nlog"),
        failed("gptq", "shape [1, 2]"),  # not an interval
    ]
    folder = write_page_run(tmp_path / "run", cells)
    opened = Opened(browser, folder / "report.html")
    page = opened.page
    page.evaluate(COPIED)
    tools = page.locator(".tools", has=page.locator("[name='cells-1']"))
    tools.get_by_text("Columns").click()
    for box in tools.get_by_role("checkbox").all()[4:]:
        box.uncheck()
    assert {len(row) for row in _shown(page)} == {5, 3}
    assert violations(opened) == []
    tools.get_by_role("button", name="Copy as CSV").click()
    tools.get_by_text("copied").wait_for()
    lines = list(csv.reader(io.StringIO(page.evaluate("copied"))))
    assert lines[0] == [
        "cell",
        "status",
        "computes in",
        "output tokens/s",
        "output tokens/s low",
        "output tokens/s high",
        "TTFT p50, ms",
    ]
    assert lines[1][:2] == ["none · e", "baseline"]
    assert float(lines[1][4]) < float(lines[1][3]) < float(lines[1][5])
    assert lines[2][0] == f"'{HOSTILE} · e"
    assert lines[3][:3] == ["awq · e", "failed", f"'{HOSTILE}"]
    assert lines[4][:3] == ["gptq · e", "failed", "shape [1, 2]"]
    tools.get_by_role("button", name="Copy as Markdown").click()
    page.wait_for_function("copied.startsWith('|')")
    text = page.evaluate("copied").splitlines()
    assert text[:2] == ["| cell | status | computes in | output tokens/s | TTFT p50, ms |", "|---|---|---|---|---|"]
    assert text[3].startswith(r"| =1\|+\<b\>\`\*\_\[x\](y) · e | meets |")
    assert opened.faults == []


def test_without_a_clipboard_the_table_is_selected(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    opened.page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    opened.page.get_by_role("button", name="Copy as Markdown").first.click()
    opened.page.get_by_text("selected below, press Ctrl+C").first.wait_for()
    assert "none · vllm" in opened.page.evaluate("getSelection().toString()")
    assert opened.faults == []


def test_the_head_of_a_long_table_stays_in_sight(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html", viewport={"width": 1280, "height": 500})
    page = opened.page
    page.locator("#table-loads tbody tr").nth(12).scroll_into_view_if_needed()
    opened.settle()
    page.wait_for_function("document.querySelector('#table-loads thead').style.transform !== ''")
    bar, head = page.locator("nav").bounding_box(), page.locator("#table-loads thead").bounding_box()
    assert bar is not None
    assert head is not None
    assert abs(head["y"] - (bar["y"] + bar["height"])) <= 2
    assert opened.faults == []


def test_two_clicks_lead_from_a_figure_to_the_file_it_is_from(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html", "#memory=3")
    page = opened.page
    name = read_results(run).cells[2].trial.name
    for region in ("All cells", "Load and latency", "Kernels and roofline"):
        page.get_by_role("region", name=region).get_by_role("link", name=name, exact=True).first.click()
        panel = page.locator("details[open]", has=page.locator("#cell-2"))
        link = panel.get_by_role("link", name="trials/2.json")
        assert (run / (link.get_attribute("href") or "")).is_file()
        panel.evaluate("(details) => { details.open = false; }")
    page.get_by_role("region", name="Failures").get_by_role("link", name="broke · e").click()
    assert "it broke" in page.locator("details[open]", has=page.locator("#failed-0")).inner_text()
    page.locator(".answer .copy").get_by_role("link", name="Evidence").click()
    assert page.evaluate("document.activeElement.localName") == "summary"
    assert page.evaluate("location.hash") == "#cell-11&memory=3"
    assert opened.faults == []


def test_without_scripts_the_table_is_plain_and_its_links_open_the_evidence(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html", java_script_enabled=False)
    page = opened.page
    assert page.locator(".tools, .sort").count() == 0
    name = read_results(run).cells[2].trial.name
    page.get_by_role("region", name="All cells").get_by_role("link", name=name, exact=True).click()
    box = page.locator("#cell-2").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 600


def test_a_trial_s_file_of_any_name_is_a_link_inside_the_folder(browser: Browser, tmp_path: Path) -> None:
    folder = write_page_run(tmp_path / "run", [trial("none", 10, 2.0, 80)])
    strange = 'a"><b>#?%41 .json'
    (folder / "trials" / "0.json").rename(folder / "trials" / strange)
    about = (folder / "sweep.json").read_text(encoding="utf-8")
    (folder / "sweep.json").write_text(about.replace('"0.json"', '"a\\"><b>#?%41 .json"'), encoding="utf-8")
    write_report(folder)
    opened = Opened(browser, folder / "report.html")
    opened.page.locator(".evidence > details > summary").first.click()
    link = opened.page.locator("#cell-0 + p a")
    assert link.inner_text() == f"trials/{strange}"
    assert opened.page.evaluate("(link) => decodeURIComponent(link.pathname)", link.element_handle()).endswith(
        f"/trials/{strange}"
    )
    assert opened.faults == []
