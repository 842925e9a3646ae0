"""Latency by load on the page: any percentile of any cell at a load, the curve of each cell, and where clicks lead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from evals.metrics.steady_state import steady, tpot, ttft
from evals.schema.load import LoadPoint, Speed
from evals.stats.intervals import percentile_interval
from reports.decision.results import conclude, read_results
from reports.output.interactive_data import page_data
from tests.support.accessibility import violations
from tests.support.browser import Opened, needs_chromium
from tests.support.made_trials import ABOUT, speed, trial
from tests.support.planted_page import planted_speeds, write_page_run

CURVES = (
    """() => latency.lines.map(([i, line]) => [data.cells[i].name, line.getAttribute("d").split(/[ML]/).length - 1])"""
)


@needs_chromium
@pytest.mark.parametrize("of", ["run", "four_engines"])
def test_a_percentile_of_a_cell_at_a_load_is_in_its_place(
    browser: Browser, request: pytest.FixtureRequest, of: str
) -> None:
    """Two steps from the first screen: the section, the percentile."""
    run: Path = request.getfixturevalue(of)
    results, opened = read_results(run), Opened(browser, run / "report.html")
    page = opened.page
    page.get_by_role("navigation").get_by_role("link", name="Load and latency").click()
    loads = [load["label"] for load in page_data(results)["loads"]]
    for label, figure in (("TTFT", ttft), ("TPOT", tpot)):
        page.get_by_label("figure", exact=True).select_option(label=label)
        page.get_by_label("percentile", exact=True).select_option(label="p99")
        rows = page.evaluate(
            "[...document.querySelectorAll('#table-latency tbody tr')].map((row) => [...row.cells].map(textOf))"
        )
        assert [row[0] for row in rows] == [cell.trial.name for cell in results.cells]
        for row, cell in zip(rows, results.cells, strict=True):
            for measured in cell.trial.speed:
                samples = steady(measured)
                sample = samples.of_started(figure) if label == "TTFT" else samples.of_ended(figure)
                wait = 1000 * percentile_interval(sample, 99).value
                text = row[1 + loads.index(measured.load.label)]
                assert float(text.split()[0].rstrip("*")) == pytest.approx(wait, rel=0.006, abs=0.6), text
                assert text.endswith(("*", "]"))
    assert "TPOT" in (page.locator("[data-about='latency'] a").get_attribute("aria-label") or "")
    assert opened.faults == []


@needs_chromium
def test_each_cell_has_a_curve_and_a_point_leads_to_its_figure_and_that_to_its_evidence(
    browser: Browser, four_engines: Path
) -> None:
    results, opened = read_results(four_engines), Opened(browser, four_engines / "report.html")
    page, tip = opened.page, opened.page.locator(".tip")
    assert dict(page.evaluate(CURVES)) == {cell.trial.name: 2 for cell in results.cells}
    point = page.locator("#curves .point").nth(3)
    point.scroll_into_view_if_needed()
    point.hover()
    assert page.locator("#curves .ends .hovered").count() == 2
    name, load = page.evaluate("[latency.points[3].cell.name, data.loads[latency.points[3].load].label]")
    assert tip.inner_text().startswith(f"{name}\n{load}\nTTFT p90, ms: ")
    point.click()
    place = page.locator("#table-latency td.hit")
    assert page.evaluate("document.activeElement.parentElement.className") == "n hit"
    assert place.evaluate("(cell) => cell.parentElement.cells[0].textContent") == name
    page.keyboard.press("Enter")
    assert name in page.locator("details[open] > summary:focus").inner_text()
    assert page.locator("details[open] a[href^='trials/']").count() == 1
    page.get_by_role("group", name="Engines shown").get_by_role("button", name="vllm").click()
    left = len({c.trial.name for c in results.cells if c.trial.engine != "vllm"})
    page.wait_for_function("(count) => latency.lines.length === count", arg=left)
    assert {name for name, _ in page.evaluate(CURVES)} == {
        c.trial.name for c in results.cells if c.trial.engine != "vllm"
    }
    assert violations(opened) == []
    assert opened.faults == []


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_each_curve_has_its_name_in_the_margin(browser: Browser, four_engines: Path, width: int) -> None:
    opened = Opened(browser, four_engines / "report.html", viewport={"width": width, "height": 800})
    names = opened.page.evaluate("""() => [...latency.svg.querySelectorAll(".names text")].map((text) => {
        const box = text.getBBox();
        return [text.textContent, box.x, box.y, box.x + box.width, box.y + box.height];
    })""")
    cells = [cell.trial.name for cell in read_results(four_engines).cells]
    assert len(names) == len(cells)
    assert all(any(cell.startswith(text.rstrip("…")) for cell in cells) for text, *_ in names)
    size = opened.page.evaluate("[latency.svg.width.baseVal.value, latency.svg.height.baseVal.value]")
    assert all(
        left >= 0 and top >= 0 and right <= size[0] and bottom <= size[1] for _, left, top, right, bottom in names
    )
    middles = sorted((top + bottom) / 2 for _, _, top, _, bottom in names)
    assert min(after - before for before, after in zip(middles, middles[1:], strict=False)) >= 12.9
    assert opened.faults == []


@needs_chromium
def test_the_curves_are_walked_by_keys(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    page = opened.page
    page.locator("#curves .point[tabindex='0']").focus()
    labels = []
    for _ in range(3):
        labels.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        page.keyboard.press("ArrowRight")
    assert len({*labels}) == 3
    assert all("output tokens/s" in label and "concurrency" in label for label in labels)
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.closest('table').id") == "table-latency"
    page.get_by_label("log", exact=True).last.check()
    assert page.evaluate("latency.svg.scale('y').type") == "log"
    assert opened.faults == []


def _loads() -> tuple[Speed, ...]:
    """A closed loop at three concurrencies, another with longer prompts, and an open load."""
    longer = replace(speed(10, 2), load=LoadPoint(2, 2, 99, 11))
    opened = replace(speed(5), load=LoadPoint(None, 2, 10, 11, 1.0, "poisson"))
    return (speed(30, 4), speed(10, 1), longer, speed(20, 2), opened)


def _two() -> list[Any]:
    return [replace(trial(method, 10, 2.0, 80), speed=_loads()) for method in ("none", "rtn")]


def test_loads_that_differ_in_concurrency_alone_are_of_one_curve() -> None:
    page = page_data(conclude(ABOUT, _two()))
    assert page["families"] == [
        "closed loop, 10 / 11 tokens",
        "closed loop, 99 / 11 tokens",
        "open load, poisson, 10 / 11 tokens",
    ]
    assert [(load["family"], load["amount"]) for load in page["loads"]] == [(0, 4), (0, 1), (1, 2), (0, 2), (2, 1.0)]


def test_a_curve_s_loads_are_named_by_all_that_they_share() -> None:
    gamma = LoadPoint(None, 2, 10, 11, 1.0, "gamma", 2.0)
    chat = LoadPoint(4, 2, 10, 11, workload="chat", shared_prefix_tokens=5, turns=3)
    cell = replace(trial("none", 10, 2.0, 80), speed=tuple(replace(speed(10), load=load) for load in (gamma, chat)))
    assert page_data(conclude(ABOUT, [cell]))["families"] == [
        "open load, gamma with a coefficient of variation of 2, 10 / 11 tokens",
        "chat: closed loop, 10 / 11 tokens, 5 shared, 3 turns",
    ]


@needs_chromium
def test_the_loads_of_the_curves_are_chosen(browser: Browser, tmp_path: Path) -> None:
    folder = write_page_run(tmp_path / "run", _two())
    opened = Opened(browser, folder / "report.html")
    page = opened.page
    assert {points for _, points in page.evaluate(CURVES)} == {3}
    assert page.evaluate("latency.points.slice(0, 3).map((point) => data.loads[point.load].amount)") == [1, 2, 4]
    page.get_by_label("loads", exact=True).select_option(label="open load, poisson, 10 / 11 tokens")
    assert page.locator("#curves svg").count() == 0  # one load makes no curve
    assert page.locator("#table-latency tbody tr").count() == 2
    assert opened.faults == []


@needs_chromium
def test_a_run_of_one_load_has_the_table_and_no_curve(browser: Browser, tmp_path: Path) -> None:
    folder = write_page_run(tmp_path / "run", [trial("none", 10, 2.0, 80), trial("rtn", 20, 1.0, 80, 2.01)])
    opened = Opened(browser, folder / "report.html")
    assert opened.page.locator("#curves").inner_text() == ""
    assert not opened.page.locator("#curves").is_visible()  # no empty half beside the table
    assert not opened.page.locator("#latency-log").is_visible()  # it would control nothing
    assert opened.page.locator("#table-latency tbody tr").count() == 2
    assert opened.faults == []


@needs_chromium
def test_curves_that_nobody_sees_are_drawn_before_they_are_seen_or_printed(
    browser: Browser, four_engines: Path
) -> None:
    opened = Opened(browser, four_engines / "report.html")
    page, count = opened.page, len(read_results(four_engines).cells)
    page.evaluate("window.before = latency.svg; change({ recovery: 0.5 })")  # of which no curve depends
    page.wait_for_timeout(1500)
    assert page.evaluate("[latency.svg === before, latency.lines.length]") == [True, count]
    page.evaluate("change({ without: { engine: ['vllm'] } })")
    opened.settle()
    assert page.evaluate("latency.svg === before")  # the answer did not wait for it
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    left = page.evaluate("latency.lines.length")
    assert 0 < left < count
    page.evaluate("change({ without: {} })")
    opened.settle()
    page.locator("#curves").scroll_into_view_if_needed()
    page.wait_for_function("(count) => latency.lines.length === count", arg=count, timeout=900)
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("change({ without: { engine: ['vllm'] } })")
    page.wait_for_function("(count) => latency.lines.length === count", arg=left)  # once the setting rests
    assert opened.faults == []


@needs_chromium
def test_a_very_long_name_is_cut_beside_its_curve(browser: Browser, tmp_path: Path) -> None:
    cell = replace(trial("none", 10, 2.0, 80, label="w" * 10_000), speed=planted_speeds((10, 20)))
    opened = Opened(browser, write_page_run(tmp_path / "run", [cell]) / "report.html")
    opened.page.locator("#curves").scroll_into_view_if_needed()
    (shown,) = opened.page.locator("#curves .names text").all_text_contents()
    assert shown == "w" * (len(shown) - 1) + "…"
    assert len(shown) <= 61
    assert opened.faults == []
