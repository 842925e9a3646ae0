"""The page in Chromium as people use it: sliders, addresses, keys, phones, dark screens, and no scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from reports.decision.results import read_results
from reports.output.interactive_data import page_data
from tests.support.accessibility import violations
from tests.support.browser import Opened, needs_chromium
from tests.support.page_reference import page_reference

pytestmark = needs_chromium


@pytest.mark.parametrize(
    ("of", "limit", "label", "key", "plot"),
    [
        ("run", "memory", "needed memory, at most", "PageDown", "memory-throughput"),
        ("four_engines", "recovery", "accuracy recovered, at least", "PageDown", "accuracy-throughput"),
    ],
)
def test_a_slider_changes_answer_frontier_and_address_and_the_address_restores_them(
    browser: Browser, request: pytest.FixtureRequest, of: str, limit: str, label: str, key: str, plot: str
) -> None:
    run: Path = request.getfixturevalue(of)
    results, opened = read_results(run), Opened(browser, run / "report.html")
    page = opened.page
    page.locator("#drawer > summary").click()
    assert results.answer.chosen is not None
    before, planned = page.locator("#then").inner_text(), results.answer.chosen.cell.trial.name
    assert f"Recommended: {planned}" in before
    opened.show_axes("throughput", plot.removesuffix("-throughput"))
    on = "#chart .cell.on"
    count = page.locator(on).count()
    slider = page.get_by_role("slider", name=label)
    slider.focus()
    for _ in range(14):  # less and less, until another cell is chosen and others are on the frontier
        page.keyboard.press(key)
        opened.settle()
        most = float(page.locator(f"#{limit}-field").input_value())
        expected = page_reference(results, page_data(results)["planned"] | {limit: most, "mix": {}, "without": {}})
        if expected["chosen"] != planned and (of == "four_engines" or len(expected["frontiers"][plot]) != count):
            break
    assert expected["chosen"] not in (None, planned)
    after = page.locator("#then").inner_text()
    assert f"Recommended: {expected['chosen']}:" in after
    assert page.locator(on).count() == len(expected["frontiers"][plot])
    assert of == "four_engines" or len(expected["frontiers"][plot]) != count
    address = page.evaluate("location.hash")
    seen = f"y={plot.removesuffix('-throughput')}"
    assert address == f"#{limit}={most:g}&{seen}"
    again = Opened(browser, run / "report.html", address)
    assert again.page.locator("#then").inner_text() == after
    assert float(again.page.locator(f"#{limit}-field").input_value()) == most
    again.page.get_by_role("button", name="as planned").click()
    again.settle()
    assert again.page.locator("#then").inner_text() == before
    assert again.page.evaluate("location.hash") == f"#{seen}"
    assert opened.faults == again.faults == []


def test_all_that_can_be_set_is_in_the_address(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    page = opened.page
    page.locator("#drawer > summary").click()
    page.get_by_role("button", name="research").click()
    page.get_by_label("price per device-hour").fill("7.5")
    page.locator("#cost-field").fill("120.5")
    page.locator("#mix-1").fill("30")
    page.locator("#mix-0").fill("70")
    page.get_by_role("checkbox", name="vllm").uncheck()
    page.locator("#ttft-field").fill("900")
    page.locator("#percentile").select_option("50")
    opened.settle()
    settings = page.evaluate("setting")
    assert settings["objective"] == "fidelity"
    assert (settings["price"], settings["cost"], settings["ttft"], settings["percentile"]) == (7.5, 120.5, 0.9, 50)
    assert (settings["mix"], settings["without"]) == ({"0": 70, "1": 30}, {"engine": ["vllm"]})
    again = Opened(browser, run / "report.html", page.evaluate("location.hash"))
    assert again.page.evaluate("setting") == settings
    assert again.page.locator("#then").inner_text() == page.locator("#then").inner_text()
    assert again.page.locator("#ranked").text_content() == page.locator("#ranked").text_content()
    assert opened.faults == again.faults == []


@pytest.mark.parametrize(
    "address",
    [
        "#memory=-1",
        "#memory=x&ttft=&price=Infinity",
        "#objective=toString",
        "#mix=99:1&mix=0:x&mix=__proto__:1",
        "#without-engine=<script>alert(1)</script>",
        "#percentile=12",
        "#recovery=none",
        "#%E0%A4%A",
    ],
)
def test_an_address_that_makes_no_sense_is_as_planned(browser: Browser, run: Path, address: str) -> None:
    opened = Opened(browser, run / "report.html", address)
    assert opened.page.evaluate("toHash(setting)") == ""
    assert opened.page.locator("#then strong").count() > 0
    assert opened.faults == []


def test_details_by_pointer_and_by_keys(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    page = opened.page
    figure = page.locator("#chart")
    opened.show_axes("throughput", "accuracy")
    tip = page.locator(".tip")
    assert not tip.is_visible()
    figure.locator(".cell.on").first.hover()
    assert "output tokens/s: " in tip.inner_text()
    figure.locator(".cell[tabindex='0']").focus()
    first = tip.inner_text()
    page.keyboard.press("ArrowRight")
    assert tip.inner_text() != first
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    assert opened.faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_serious(browser: Browser, run: Path, scheme: str, width: int) -> None:
    opened = Opened(
        browser,
        run / "report.html",
        "#memory=2",
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
        bypass_csp=True,
    )
    assert violations(opened) == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width  # nothing hangs over a phone's edge


def test_without_scripts_figures_and_answer_are_there(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html", java_script_enabled=False)
    assert opened.page.locator("noscript img").first.is_visible()
    assert not opened.page.locator("#what-if").is_visible()
    assert "Recommended: " in opened.page.locator(".answer").first.inner_text()
