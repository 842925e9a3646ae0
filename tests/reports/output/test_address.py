"""What is seen is in the page's address: a copied link restores it, and an address that makes no sense changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import Opened, needs_chromium

pytestmark = needs_chromium

SEEN = """() => ({
  chart: chart.view, latency: latency.view, setting,
  tables: [...TABLES].map(([name, { sort, words, hidden }]) => [name, sort, words, [...hidden]]),
  rows: [...document.querySelectorAll('#table-cells tbody tr')].filter((row) => !row.hidden).map(textOf),
  fields: [...document.querySelectorAll('.pick select, .pick input, .tools input')].map((field) => field.type === 'checkbox' ? field.checked : field.value),
})"""


def _address(page: Page) -> str:
    address: str = page.evaluate("location.hash")
    return address


def test_axes_sort_columns_words_and_percentile_are_restored_from_a_link(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    page = opened.page
    planned = page.evaluate(SEEN)
    opened.show_axes("ttft-0-50", "memory")
    page.locator("#y-log").check()
    page.locator("#latency-figure").select_option("tpot")
    page.locator("#latency-percentile").select_option(label="p99")
    page.locator("#latency-log").check()
    page.get_by_role("group", name="Engines shown").get_by_role("button", name="llama_cpp").click()
    page.get_by_role("region", name="All cells").get_by_role("button", name="output tokens/s").click()
    tools = page.locator(".tools", has=page.locator("[name='cells-1']"))
    tools.get_by_text("Columns").click()
    tools.get_by_role("checkbox").nth(2).uncheck()
    tools.get_by_label("Filter").fill("vllm & rtn=%41")
    tools.get_by_label("Filter").fill("vllm rtn")
    opened.settle()
    address, seen = _address(page), page.evaluate(SEEN)
    for part in ("without-engine=llama_cpp", "x=ttft-0-50", "y=memory", "log=y", "latency=tpot-p99", "latency-log=1"):
        assert part in address
    for part in ("sort-cells=3-down", "hide-cells=3", "find-cells=vllm+rtn"):
        assert part in address
    assert seen != planned
    assert 0 < len(seen["rows"]) < len(planned["rows"])
    again = Opened(browser, run / "report.html", address)
    assert again.page.evaluate(SEEN) == seen
    assert _address(again.page) == address
    again.page.evaluate("location.hash = ''")
    again.settle()
    assert again.page.evaluate(SEEN) == planned
    assert opened.faults == again.faults == []


@pytest.mark.parametrize(
    "address",
    [
        "#x=__proto__&y=constructor&log=zz",
        "#x=<script>alert(1)</script>&of=-1&of=all",
        "#latency=tpot-p12&loads=99",
        "#latency=e2e-p99&loads=-1",
        "#sort-cells=99-up&sort-loads=1-sideways&sort-latency=x",
        "#hide-cells=0,99,-1,x,1e3&hide-__proto__=1",
        "#sort-cells=&find-cells=&hide-cells=",
        "#%E0%A4%A=%&x=%FF",
    ],
)
def test_an_address_that_makes_no_sense_changes_nothing(browser: Browser, run: Path, address: str) -> None:
    planned = Opened(browser, run / "report.html")
    opened = Opened(browser, run / "report.html", address)
    assert opened.page.evaluate(SEEN) == planned.page.evaluate(SEEN)
    assert opened.page.evaluate("String(new URLSearchParams(viewPairs()))") == ""
    assert opened.faults == []


def test_words_of_an_address_are_text_and_few(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html", "#find-cells=%3Cimg src=x onerror=alert(1)%3E" + "a" * 5000)
    field = opened.page.locator(".tools", has=opened.page.locator("[name='cells-1']")).get_by_label("Filter")
    assert field.input_value().startswith("<img src=x")
    assert len(field.input_value()) == 200
    assert opened.page.locator("img").count() == 0
    assert opened.faults == []


def test_back_returns_to_where_the_reader_was(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html", "#memory=3", viewport={"width": 1280, "height": 800})
    page = opened.page
    page.get_by_role("navigation").get_by_role("link", name="Load and latency", exact=True).click()
    opened.settle()
    figure = page.locator("#table-latency tbody tr").nth(2).locator("td a").first
    figure.scroll_into_view_if_needed()
    before, entries = page.evaluate("[scrollY, history.length]")
    text = figure.inner_text()
    figure.click()
    opened.settle()
    assert _address(page).startswith("#cell-")
    assert page.evaluate("history.length") == entries + 1
    bar, summary = page.locator("nav").bounding_box(), page.locator("details[open] > summary:focus").bounding_box()
    assert bar is not None
    assert summary is not None
    assert bar["y"] + bar["height"] - 1 <= summary["y"] < 200
    line = page.locator("details[open] > .clicked")
    assert line.inner_text().startswith("TTFT p95, ms, at ")
    assert line.inner_text().endswith(f": {text}")
    page.go_back()
    opened.settle()
    page.wait_for_function("(before) => Math.abs(scrollY - before) < 3", arg=before)
    assert _address(page) == "#loads&memory=3"
    page.evaluate("change({ memory: 2 })")
    opened.settle()
    assert _address(page) == "#loads&memory=2"
    assert page.evaluate("history.length") == entries + 1  # a setting adds no entry
    page.go_back()
    opened.settle()
    assert _address(page) == "#memory=3"
    assert page.evaluate("setting.memory") == 3
    assert opened.faults == []


@pytest.mark.parametrize("place", ["cell-1", "loads", "cost"])
def test_a_link_leads_to_a_place_and_holds_the_setting(browser: Browser, run: Path, place: str) -> None:
    opened = Opened(browser, run / "report.html", f"#{place}&cost=3", viewport={"width": 1280, "height": 800})
    opened.settle()
    box, bar = opened.page.locator(f"#{place}").bounding_box(), opened.page.locator("nav").bounding_box()
    assert box is not None
    assert bar is not None
    assert bar["height"] - 1 <= box["y"] < 200
    assert opened.page.evaluate("setting.cost") == 3
    if place.startswith("cell"):
        assert opened.page.locator("details[open]", has=opened.page.locator(f"#{place}")).count() == 1
    assert opened.faults == []


def test_the_keyboard_skips_to_the_chart(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.textContent") == "Skip to the chart"
    opened.page.keyboard.press("Enter")
    assert opened.page.evaluate("document.activeElement.getAttribute('role')") == "button"
    assert opened.page.evaluate("document.activeElement.closest('#chart') !== null")
    assert opened.faults == []
