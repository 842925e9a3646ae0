"""The frontier chart in Chromium: axes, marks, names, details, keys, filters, export; and the library that draws it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import xml.etree.ElementTree
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image
from playwright.sync_api import Browser

from engines.runtime.own_packages import ROOT
from evals.stats.intervals import Estimate
from reports.decision.frontier.pareto import Point, frontier
from reports.decision.results import read_results
from reports.output.interactive_data import page_data
from tests.support.accessibility import violations
from tests.support.browser import Opened, needs_chromium
from tests.support.made_trials import trial
from tests.support.planted_page import write_page_run

VENDOR = ROOT / "reports" / "output" / "templates" / "vendor"

READ = """() => chart.list.map((one) => [one.i, one.x[0], one.y[0], one.on, one.bad])"""
BOXES = """() => [...document.querySelectorAll('#chart .names text')].map((one) => {
  const { left, right, top, bottom } = one.getBoundingClientRect();
  return [left, right, top, bottom];
})"""
MANY = """(count) => {
  const first = [...data.cells], random = (i) => 1 + ((i * 7919) % 997) / 997;
  data.cells = Array.from({ length: count }, (_, i) => {
    const cell = structuredClone(first[i % first.length]);
    cell.name += ` ${i}`;
    for (const load of cell.loads) load.rate = load.rate.map((end) => end && end * random(i));
    cell.perplexity = [random(3 * i), random(3 * i), random(3 * i)];
    return cell;
  });
  spreadLoads(data);
  const times = [];
  for (let i = 0; i < 7; i++) {
    setting.memory = 10 - i;
    const start = performance.now(), result = conclude(data, setting);
    chart.update(result, setting);
    chart.draw();
    chart.svg.getBoundingClientRect();
    times.push(performance.now() - start);
  }
  return [times.sort((a, b) => a - b)[3], document.querySelectorAll('#chart .cell').length];
}"""


def _point(cell: int, x: float, y: float, signs: tuple[int, int]) -> Point:
    ends = (Estimate(sign * value, sign * value, sign * value, 1) for sign, value in zip(signs, (x, y), strict=True))
    return Point(str(cell), str(cell), *ends)


@needs_chromium
@pytest.mark.parametrize(("of", "half"), [("run", 0), ("four_engines", 1)], ids=["run", "four_engines"])
def test_on_every_pair_of_axes_the_frontier_is_python_s_and_no_name_hides_another(
    browser: Browser, request: pytest.FixtureRequest, of: str, half: int
) -> None:
    """Each page has every other pair: a second or two goes into each."""
    run: Path = request.getfixturevalue(of)
    axes, opened = page_data(read_results(run))["chart"], Opened(browser, run / "report.html")
    names = 0
    for row, y in enumerate(axes["y"]):
        for x in axes["x"][(row + half) % 2 :: 2]:
            opened.show_axes(x["name"], y["name"])
            points = opened.page.evaluate(READ)
            signs = (-1 if x["less"] else 1, -1 if y["less"] else 1)
            allowed = [_point(cell, a, b, signs) for cell, a, b, _, bad in points if not bad]
            expected = sorted(int(point.key) for point in frontier(allowed))
            assert sorted(cell for cell, *_, on, _ in points if on) == expected, (x["name"], y["name"])
            boxes = opened.page.evaluate(BOXES)
            names += len(boxes)
            for k, (left, right, top, bottom) in enumerate(boxes):
                for a, b, c, d in boxes[:k]:
                    assert right <= a or b <= left or bottom <= c or d <= top, (x["name"], y["name"])
    assert names > len(axes["x"])
    assert opened.faults == []


@needs_chromium
def test_the_sharpest_measure_is_shown_first_and_probabilities_are_opacities(
    browser: Browser, four_engines: Path
) -> None:
    opened = Opened(browser, four_engines / "report.html")
    page = opened.page
    assert page.locator("#y-axis").input_value() == "perplexity"
    assert page.locator("#x-axis").input_value() == "throughput"
    (drawn,) = [d for d in page.evaluate("data.chart.odds") if (d["x"], d["y"]) == ("throughput", "perplexity")]
    seen = set()
    for cell, odds in zip(drawn["cells"], drawn["odds"], strict=True):
        is_shown, opacity = page.evaluate(
            "(i) => { const { dot } = chart.nodes.get(i); return [dot.matches('.on, .recommended'), dot.style.opacity]; }",
            cell,
        )
        assert float(opacity) == pytest.approx(1.0 if is_shown else 0.5 + 0.5 * odds, abs=1e-3)
        seen.add(is_shown)
    assert seen == {True, False}
    assert page.locator("#chart .cell.recommended").count() == 1
    assert opened.faults == []


@needs_chromium
def test_pointing_shows_figures_and_a_click_opens_the_evidence(browser: Browser, four_engines: Path) -> None:
    opened = Opened(browser, four_engines / "report.html", viewport={"width": 1280, "height": 800})
    page, tip = opened.page, opened.page.locator(".tip")
    assert not tip.is_visible()
    cell = page.locator("#chart .cell.recommended")
    cell.hover()
    assert page.locator("#chart .bars .hovered").count() == 2
    text = tip.inner_text()
    chosen = read_results(four_engines).answer.chosen
    assert chosen is not None
    assert text.startswith(chosen.cell.trial.name)
    for part in ("recommended", "perplexity ÷", "output tokens/s", "needed memory, GiB"):
        assert part in text
    cell.click()
    panel = page.locator("details[open] > summary:focus")
    assert chosen.cell.trial.name in panel.inner_text()
    assert opened.faults == []


@needs_chromium
def test_the_chart_is_walked_by_keys(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    page, tip = opened.page, opened.page.locator(".tip")
    page.locator("#chart .cell[tabindex='0']").focus()
    labels = []
    for _ in range(3):
        labels.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        page.keyboard.press("ArrowRight")
    assert len({*labels}) == 3
    assert all("output tokens/s" in label for label in labels)
    assert tip.is_visible()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.localName") == "summary"
    assert page.evaluate("document.activeElement.parentElement.open")
    assert opened.faults == []


@needs_chromium
def test_a_focused_cell_stays_focused_when_the_setting_changes(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    page = opened.page
    page.locator("#chart .cell[tabindex='0']").focus()
    label = page.evaluate("document.activeElement.getAttribute('aria-label').split(':')[0]")
    page.evaluate("change({ recovery: 0.5 })")
    opened.settle()
    assert page.evaluate("document.activeElement.getAttribute('aria-label').split(':')[0]") == label
    assert opened.faults == []


@needs_chromium
def test_engines_and_methods_are_filtered_and_the_address_holds_it(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    page = opened.page
    before = page.locator("#chart .cell").count()
    vllm = page.get_by_role("group", name="Engines shown").get_by_role("button", name="vllm")
    vllm.click()
    opened.settle()
    after = page.locator("#chart .cell").count()
    assert 0 < after < before
    assert vllm.get_attribute("aria-pressed") == "false"
    assert page.evaluate("location.hash") == "#without-engine=vllm"
    again = Opened(browser, run / "report.html", "#without-engine=vllm")
    assert again.page.locator("#chart .cell").count() == after
    page.get_by_text("Methods shown, export").click()
    page.get_by_role("group", name="Methods shown").get_by_role("button", name="rtn", exact=True).click()
    vllm.click()
    opened.settle()
    assert page.evaluate("setting.without") == {"method": ["rtn"]}
    assert opened.faults == again.faults == []


@needs_chromium
def test_axes_can_be_logarithmic(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    page = opened.page
    opened.show_axes("throughput", "memory")
    drawn = page.locator("#chart .cell").count()
    page.locator("#x-log").check()
    page.locator("#y-log").check()
    assert page.evaluate("[chart.svg.scale('x').type, chart.svg.scale('y').type]") == ["log", "log"]
    assert page.locator("#chart .cell").count() == drawn
    opened.show_axes("throughput", "difference")  # the baselines' 0 has no logarithm
    assert 0 < page.locator("#chart .cell").count() < drawn
    assert opened.faults == []


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_drawing_is_saved_as_svg_and_png(browser: Browser, run: Path, scheme: str) -> None:
    opened = Opened(browser, run / "report.html", color_scheme=scheme)
    page = opened.page
    page.evaluate("HTMLAnchorElement.prototype.click = function () { window.saved = [this.download, this.href]; }")
    page.get_by_text("Methods shown, export").click()
    page.get_by_role("button", name="Save SVG").click()
    name, address = page.evaluate("window.saved")
    assert name == "frontier-perplexity-throughput.svg"
    drawing = xml.etree.ElementTree.fromstring(unquote(address.split(",", 1)[1]))
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in unquote(address)
    texts = drawing.findall(".//{http://www.w3.org/2000/svg}text")
    assert len(texts) > 8
    for text in drawing.findall(".//{http://www.w3.org/2000/svg}g[@class='names']/{http://www.w3.org/2000/svg}text"):
        styles = text.get("style", "")  # the outline stays behind the letters
        assert "paint-order: stroke" in styles
        assert "stroke-width: 3px" in styles
    assert {text.get("text-anchor") for text in texts if "".join(text.itertext())[0] in "●○×┄"} == {"start"}
    shown = ["".join(text.itertext()) for text in texts]
    engines = page.locator('[data-legend="engine"]').evaluate_all("(all) => all.map((one) => one.value)")
    for line in (*(f"● {engine}" for engine in engines), "○ ring: recommended", "× fails a limit or is not trusted"):
        assert line in shown
    page.get_by_role("button", name="Save PNG").click()
    page.evaluate("save('png')")
    name, address = page.evaluate("window.saved")
    assert name == "frontier-perplexity-throughput.png"
    picture = Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1])))
    assert picture.format == "PNG"
    size = [float(drawing.get(name, "0")) for name in ("width", "height")]
    assert size[1] > page.evaluate("chart.svg.height.baseVal.value")  # the key is below it
    assert list(picture.size) == pytest.approx([2 * side for side in size], abs=2)
    assert opened.faults == []


@needs_chromium
def test_what_the_marks_mean_is_seen_and_a_cell_beyond_the_axes_is_named(browser: Browser, tmp_path: Path) -> None:
    """Twice the perplexity: drawn to scale it would squeeze those that may win."""
    cells = [
        trial("none", 10, 2.0, 80),
        trial("rtn", 20, 1.0, 80, 2.01),
        trial("awq", 15, 1.0, 80, 2.02),
        trial("bad", 22, 1.0, 40, 2.7),
    ]
    opened = Opened(browser, write_page_run(tmp_path / "run", cells) / "report.html")
    assert opened.page.locator(".chart .key").is_visible()
    names = opened.page.locator("#chart .names text").all_text_contents()
    assert [name for name in names if "outside" in name] == ["bad · e: outside the axes"]
    assert opened.faults == []


@needs_chromium
def test_a_thousand_cells_are_drawn_anew_while_a_slider_moves(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    milliseconds, drawn = opened.page.evaluate(MANY, 1000)
    assert drawn > 800
    assert milliseconds < 1000  # some 100 on an idle core
    assert violations(opened) == []
    assert opened.faults == []


def test_the_library_is_the_file_that_was_looked_at() -> None:
    """Whoever replaces it records what it is: versions, licences, how it was bundled."""
    record = json.loads((VENDOR / "observable-plot.json").read_text())
    code = (VENDOR / "observable-plot.min.js").read_bytes()
    assert hashlib.sha256(code).hexdigest() == record["sha256"]
    licences = (VENDOR / "observable-plot.licenses.txt").read_text()
    for package, version in record["packages"].items():
        assert f"{package} {version}" in licences
    text = code.decode()
    assert not re.search(r"</script|<!--|new Function|[^\w.]eval\(", text)
    described = (ROOT / "docs" / "explanation" / "chart-library.md").read_text()
    assert f"Observable Plot {record['packages']['@observablehq/plot']}" in described


@needs_chromium
def test_a_setting_that_changes_nothing_of_the_chart_draws_nothing(browser: Browser, four_engines: Path) -> None:
    opened = Opened(browser, four_engines / "report.html")
    same = "(what) => { window.before = chart.svg; change(what); }"
    planned = opened.page.evaluate("setting.recovery")
    for changed, is_same in (
        ({"recovery": planned + 1e-6}, True),
        ({"recovery": 2}, False),  # all are barred
        ({"price": 1000}, True),
        ({"mix": {"0": 1}}, False),  # another load on the axis
        ({"without": {"engine": ["vllm"]}}, False),
    ):
        opened.page.evaluate(same, changed)
        opened.settle()
        assert opened.page.evaluate("chart.svg === before") is is_same, changed
    opened.show_axes("cost", "memory")
    opened.page.evaluate(same, {"price": 2000})
    opened.settle()
    assert not opened.page.evaluate("chart.svg === before")
    assert opened.faults == []
