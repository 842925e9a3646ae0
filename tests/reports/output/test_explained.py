"""What a figure is, on the page: beside each "?" with scripts, in a list without, in print too."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from reports.metrics.definitions.table import definitions
from tests.support.accessibility import violations
from tests.support.browser import Opened, needs_chromium

pytestmark = needs_chromium

INSIDE = """() => {
  const box = document.querySelector('.definition').getBoundingClientRect();
  return box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;
}"""


def test_a_question_mark_shows_the_definition_and_keys_close_it(browser: Browser, run: Path) -> None:
    for width in (390, 1280):
        opened = Opened(browser, run / "report.html", "#memory=3", viewport={"width": width, "height": 800})
        page, shown = opened.page, opened.page.get_by_role("dialog")
        link = page.get_by_role("region", name="Load and latency").get_by_role("link", name="What is TTFT?")
        link.focus()
        assert not shown.is_visible()
        page.keyboard.press("Enter")
        assert shown.is_visible()
        assert definitions()["ttft"].formula in shown.inner_text()
        assert "lower is better" in shown.inner_text()
        assert page.evaluate(INSIDE)
        assert violations(opened) == []
        page.keyboard.press("Escape")
        assert not shown.is_visible()
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "What is TTFT?"
        assert page.evaluate("location.hash") == "#memory=3"
        assert opened.faults == []


def test_the_chart_s_axes_explain_what_they_show(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    page = opened.page
    page.locator(".chart .pick").get_by_role("link", name="What is Output tokens/s?").click()
    assert definitions()["output_rate"].formula in page.get_by_role("dialog").inner_text()
    opened.show_axes("ttft-0-50", "memory")
    page.locator(".chart .pick").get_by_role("link", name="What is TTFT?").click()
    assert definitions()["ttft"].formula in page.get_by_role("dialog").inner_text()
    page.locator(".tiles a.what").first.click()
    assert page.get_by_role("dialog").inner_text().startswith("Output tokens/s")
    assert opened.faults == []


def test_all_definitions_are_listed_without_scripts_and_in_print(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html", java_script_enabled=False)
    page = opened.page
    page.get_by_role("region", name="Load and latency").get_by_role("link", name="What is TTFT?").click()
    box = page.locator("#about-ttft").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 800
    page.emulate_media(media="print")
    for name in definitions():
        assert page.locator(f"#about-{name} dd").is_visible(), name
    assert not page.locator("a.what").first.is_visible()
