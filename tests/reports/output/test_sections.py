"""The page's sections in Chromium: an index that stays in sight, and nothing that is blank where it is captured whole."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

from reports.decision.results import read_results
from tests.support.browser import Opened, needs_chromium

pytestmark = needs_chromium

HEADINGS = "[...document.querySelectorAll('h2[id]')].filter((one) => one.id !== 'frontier-title').map((one) => [one.id, one.textContent])"
LINKS = "[...document.querySelectorAll('nav a')].map((one) => [one.hash.slice(1), one.textContent])"
NAME_LINES = """[...document.querySelectorAll('#table-cells tbody th a')].map((one) =>
  new Set([...one.getClientRects()].map((box) => Math.round(box.top))).size)"""
REGIONS = """[...document.querySelectorAll('h2, .scroll, #chart, .answer')].map((one) => {
  const { x, y, width, height } = one.getBoundingClientRect();
  return [one.id || one.getAttribute('aria-label') || one.textContent, x + scrollX, y + scrollY, width, height];
}).filter((one) => one[4] > 0)"""


def test_the_index_names_all_sections_and_leads_to_them(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html", "#memory=3", viewport={"width": 1280, "height": 800})
    page = opened.page
    links = page.evaluate(LINKS)
    assert links == page.evaluate(HEADINGS)
    assert {"Load and latency", "SLO capacity", "Accuracy (paired)", "Cost", "Failures"} <= {
        title for _, title in links
    }
    assert (
        page.evaluate("(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector('nav ul'))")
        == 0
    )
    for section, title in links[:-2]:
        page.get_by_role("navigation").get_by_role("link", name=title, exact=True).click()
        opened.settle()
        top = page.locator(f"#{section}").bounding_box()
        bar = page.get_by_role("navigation").bounding_box()
        assert top is not None
        assert bar is not None
        assert bar["y"] == 0  # it stays in sight
        assert bar["height"] - 1 <= top["y"] < 100, title
    assert page.evaluate("location.hash") == f"#{links[-3][0]}&memory=3"
    assert page.evaluate("setting.memory") == 3
    page.evaluate("location.hash = 'evidence'")  # a link from elsewhere
    opened.settle()
    assert page.evaluate("setting.memory") == 3
    assert page.evaluate("location.hash") == "#evidence&memory=3"
    assert opened.faults == []


def test_without_scripts_the_index_leads_to_sections_too(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html", java_script_enabled=False)
    opened.page.get_by_role("navigation").get_by_role("link", name="Evidence by cell").click()
    box = opened.page.locator("#evidence").bounding_box()
    assert box is not None
    assert 0 <= box["y"] < 200


def test_failures_have_a_section_with_cause(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    failed = [trial for trial in read_results(run).trials if trial.status != "ok"]
    rows = opened.page.get_by_role("region", name="Failures").locator("tbody tr")
    assert rows.count() == len(failed) == 1
    assert failed[0].why in rows.first.inner_text()


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("of", ["run", "four_engines"])
def test_nothing_is_blank_in_a_capture_of_the_whole_page(
    browser: Browser, request: pytest.FixtureRequest, of: str, media: str
) -> None:
    run: Path = request.getfixturevalue(of)
    opened = Opened(browser, run / "report.html", viewport={"width": 1280, "height": 800})
    page = opened.page
    page.emulate_media(media=media)  # type: ignore[arg-type]
    opened.settle()
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("L")
    regions = page.evaluate(REGIONS)
    assert len(regions) > 15
    for name, x, y, width, height in regions:
        box = (int(max(x, 0)), int(y), int(min(x + width, picture.width)), int(min(y + height, picture.height)))
        darkest, lightest = picture.crop(box).getextrema()
        assert int(lightest) - int(darkest) > 60, name
    assert opened.faults == []


def test_no_table_of_a_real_run_is_cut_off_on_paper(browser: Browser, four_engines: Path) -> None:
    """A4, landscape, less margins of 10 mm: 277 mm are 1,047 pixels."""
    opened = Opened(browser, four_engines / "report.html", viewport={"width": 1047, "height": 718})
    opened.page.emulate_media(media="print")
    opened.settle()
    widths = opened.page.evaluate(
        "[...document.querySelectorAll('table')].map((one) => one.getBoundingClientRect().right)"
    )
    assert len(widths) > 10
    assert max(widths) <= 1047


def test_a_page_is_printed_in_light_colours_with_what_is_folded_in_the_answer(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html", color_scheme="dark")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.page.emulate_media(media="print")
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.page.get_by_text("bitfrontier quantize").first.is_visible()
    assert len(opened.page.pdf()) > 50_000


def test_on_paper_all_is_open_and_no_table_is_cut_off(browser: Browser, four_engines: Path) -> None:
    opened = Opened(browser, four_engines / "report.html", viewport={"width": 1047, "height": 718})  # A4 across
    page = opened.page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.settle()
    assert not page.locator("#drawer").is_visible()  # a form whose fields are empty
    assert page.locator(".first details:not([open], .legend)").count() == 0
    assert page.locator(".chart .key").is_visible()
    evidence = page.locator(".evidence details")
    assert evidence.count() == evidence.and_(page.locator("[open]")).count() > 10
    assert page.locator(".evidence").get_by_text("gate “").first.is_visible()
    assert not page.locator(".evidence pre.raw").first.is_visible()
    assert page.get_by_text("Not printed: engine facts").first.is_visible()
    assert max(page.evaluate(NAME_LINES)) <= 2
    over = "[...document.querySelectorAll('table')].filter((one) => one.scrollWidth > one.parentElement.clientWidth).length"
    assert page.evaluate(over) == 0
    title, chart = page.locator("#frontier-title").bounding_box(), page.locator("#chart").bounding_box()
    assert title is not None
    assert chart is not None
    assert chart["y"] - title["y"] - title["height"] < 30
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".evidence details[open]").count() == 0
    assert opened.faults == []


def test_a_changed_setting_is_printed_without_its_form(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html", "#memory=3")
    opened.page.emulate_media(media="print")
    assert not opened.page.locator("#what-if").is_visible()
    assert opened.page.locator("#then").is_visible()
    shown = opened.page.evaluate("getComputedStyle(document.getElementById('then'), '::before').content")
    assert "memory=3" in opened.page.evaluate("document.getElementById('then').dataset.setting")
    assert shown.startswith('"Setting: ')


def test_tables_are_no_wider_than_they_need_and_show_that_they_scroll(browser: Browser, four_engines: Path) -> None:
    opened = Opened(browser, four_engines / "report.html", viewport={"width": 1280, "height": 800})
    page = opened.page
    for table, most in ((".uses", 1248), ("#table-cells", 3000)):
        assert page.locator(table).evaluate("(one) => one.offsetWidth") <= most, table
    boxes = page.locator(".scroll").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one).backgroundAttachment)"
    )
    assert set(boxes) == {"local, local, scroll, scroll"}
    marks = page.locator(".line summary").evaluate_all(
        "(all) => all.map((one) => getComputedStyle(one, '::before').content)"
    )
    assert set(marks) == {'"▸ "'}
