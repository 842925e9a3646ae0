"""The page in Chromium: what its script concludes is what Python concludes, whatever is set."""

from __future__ import annotations

import random
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from engines.runtime.own_packages import ROOT
from evals.schema.load import LoadPoint, Speed
from evals.schema.slo import SLO, Search, SearchRange
from evals.schema.trial import Trial
from quant.canonical_json import write_json
from reports.decision.frontiers import oriented, plots
from reports.decision.pareto import frontier
from reports.decision.ranking import OBJECTIVES, Aim, candidates, ranked
from reports.decision.results import Results, Setting, read_results
from reports.decision.verdicts import Limits
from reports.metrics.cost import Price, per_million
from reports.output.html_report import write_report
from reports.output.interactive_data import page_data
from tests.support.browser import Opened, chromium, needs_chromium
from tests.support.made_trials import ABOUT, failed, speed, trial

pytestmark = needs_chromium
GROUPS = {"model": "model", "method": "method_label", "engine": "engine", "device": "device"}
JS = dict[str, Any]


def _speeds(rates: tuple[float, float], wobble: float = 0.05) -> tuple[Speed, ...]:
    """At concurrency 1 and 4, and under an open load; enough requests for a p90 to have an interval, not a p99."""
    measurement, four = (speed(rate, users, wobble) for rate, users in zip(rates, (1, 4), strict=True))
    opened = replace(speed(rates[0] / 2, 1, wobble), load=LoadPoint(None, 2, 10, 11, 1.0, "poisson"))
    return tuple(
        replace(load_speed, repeats=tuple(repeat * 40 for repeat in load_speed.repeats))
        for load_speed in (measurement, four, opened)
    )


def _trials() -> list[Trial]:
    draw, trials = random.Random(3), []
    for engine in ("vllm", "llama_cpp"):
        for number, method in enumerate(("none", "rtn", "awq", "gptq", "fp8")):
            rate = draw.uniform(5, 40)
            result = trial(
                method, rate, draw.uniform(0.5, 4), 80 - draw.randrange(12), 2 + 0.03 * number, engine=engine
            )
            speeds = _speeds((rate, rate * draw.uniform(1, 3)))
            met = speeds[number % 2 : number % 2 + 1]  # none of the last method
            searched = Search(SearchRange("concurrency", 1, 8, 40, 10, 11), SLO(60.0, None, 50), met, met)
            trials.append(replace(result, speed=speeds, searches=(searched,) if method != "fp8" else ()))
    trials.append(replace(trials[1], key="short", method_label="short", speed=trials[1].speed[:1], memory=None))
    two = {"engine_options": {"tensor_parallel": 2}}  # faster than on one device, and slower on each
    for number in (0, 1):
        faster = _speeds((45.0 + number, 130.0 + number))
        trials.append(replace(trials[number], key=f"two-{number}", provenance=two, speed=faster))
    garbage = replace(trial("garbage", 900, 0.1, 5, 6.0, engine="vllm"), key="g", speed=_speeds((900, 900)))
    return [*trials, garbage, replace(trials[2], key="silent", method_label="silent", scores=(), perplexities=())]


def _run(folder: Path, trials: list[Trial], **about: Any) -> Path:
    (folder / "trials").mkdir(parents=True)
    names = [f"{number}.json" for number in range(len(trials))]
    for name, result in zip(names, trials, strict=True):
        write_json(folder / "trials" / name, result)
    write_json(folder / "sweep.json", {**ABOUT, "trials": names, **about})
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    price = {"per_device_hour": 2.0, "currency": "EUR"}
    return _run(tmp_path_factory.mktemp("page") / "run", [*_trials(), failed("broke", "it broke")], price=price)


def _settings(results: Results, count: int) -> Iterator[JS]:
    """As the page's controls can make them, drawn at random."""
    draw, page = random.Random(0), page_data(results)
    for number in range(count):
        mixes: list[dict[str, float]] = [{}, {}, {"0": 1}, {"0": 2, "1": 1}, {"0": 5, "1": 0, "2": 3}]
        mixes = [mix for mix in mixes if all(int(load) < len(page["loads"]) for load in mix)]
        groups = {name: sorted({cell[name] for cell in page["cells"]}) for name in GROUPS}
        yield page["planned"] | {
            "recovery": draw.choice([0.5, 0.9, 0.95, 0.99]),
            "perplexity": draw.choice([1.01, 1.05, 1.1, 3.0]),
            "memory": draw.choice([None, None, 1.0, 2.0, 3.0]),
            "ttft": draw.choice([None, None, 0.02, 0.05, 0.1, 1.0]),
            "tpot": draw.choice([None, None, 0.02, 0.04, 0.1]),
            "percentile": draw.choice(page["percentiles"]),
            "price": draw.choice([None, 0.0, 3.5]),
            "cost": draw.choice([None, 5.0, 20.0, 60.0]),
            "objective": [*OBJECTIVES][number % len(OBJECTIVES)],
            "mix": draw.choice(mixes),
            "without": draw.choice(
                [{}, {}, {"engine": ["vllm"]}, {"method": draw.sample(groups["method"], min(3, len(groups["method"])))}]
            ),
        }


def _reference(results: Results, values: JS) -> JS:
    """The same by Python, from the trials."""
    limits = Limits(values["recovery"], values["perplexity"], values["kl"], memory_gib=values["memory"])
    has_slo = values["ttft"] is not None or values["tpot"] is not None
    service = SLO(values["ttft"], values["tpot"], values["percentile"]) if has_slo else None
    loads = list(dict.fromkeys(load.load for cell in results.cells for load in cell.loads))
    mix = {loads[int(number)]: share for number, share in values["mix"].items() if share > 0}
    price = None if values["price"] is None else Price(values["price"], "EUR", values["cost"])
    hidden = {
        cell.trial.key
        for cell in results.cells
        for group, names in values["without"].items()
        if getattr(cell.trial, GROUPS[group]) in names
    }
    setting = Setting(limits, Aim(values["objective"], service, mix, price), frozenset(hidden))
    conclusion = results.under(setting)
    places = {cell.trial.key: number for number, cell in enumerate(results.cells)}
    considered = candidates(conclusion.judged, setting.aim)
    best = ranked(considered, setting.aim)
    return {
        "verdicts": {places[judgement.cell.trial.key]: judgement.verdict for judgement in conclusion.judged},
        "ranked": [(places[a.judged.cell.trial.key], a.figure.value, a.rate.low, a.rate.high, a.serves) for a in best],
        "violated": sorted(places[a.judged.cell.trial.key] for a in considered if a.serves == "violated"),
        "costs": [
            per_million(a.rate, count, price).value
            for a in best
            if price and (count := a.judged.cell.trial.devices) is not None
        ],
        "chosen": conclusion.answer.chosen.cell.trial.name if conclusion.answer.chosen else None,
        "caveats": list(conclusion.answer.caveats),
        "alternative": conclusion.answer.alternative,
        "why": {places[judgement.cell.trial.key]: judgement.why for judgement in conclusion.judged},
        "frontiers": _frontiers(results, conclusion.allowed, price, mix, places),
    }


def _frontiers(results: Results, allowed: Any, price: Price | None, mix: Any, places: dict[str, int]) -> JS:
    """Dominated is who is called so under the plan's setting, by its printed probability, and is off the frontier now:
    as long as all among whom that was drawn are still there.
    """
    if not allowed:
        return {}
    keys = {cell.trial.name: cell.trial.key for cell in results.cells}
    planned = {front.plot.name: front.standings for front in results.frontiers}
    expected = {}
    for plot in plots("", "", price, mix):
        points = oriented(allowed, plot)
        on = sorted(places[point.key] for point in frontier(points))
        standings = planned.get(plot.name, ())
        holds = {keys[standing.name] for standing in standings} <= {point.key for point in points} and not mix
        if price is not None and price.per_device_hour == 0:
            holds = False
        faded = [places[keys[s.name]] for s in standings if s.odds is not None and s.odds < 0.05 and holds]
        expected[plot.name] = [on, sorted(place for place in faded if place not in on)]
    return expected


ASK = """(setting) => {
  const found = conclude(data, setting), [answer] = found.answers;
  const ranked = answer.ranked.filter((one) => data.cells[one.number].devices);
  return {
    caveats: answer.caveats, alternative: answer.alternative,
    why: Object.fromEntries(found.judged.flatMap((one, i) => one ? [[i, one[1]]] : [])),
    verdicts: Object.fromEntries(found.judged.flatMap((one, i) => one ? [[i, one[0]]] : [])),
    ranked: answer.ranked.map((one) => [one.number, one.figure[0], low(one.rate), high(one.rate), one.serves]),
    violated: answer.violated.sort((a, b) => a - b),
    costs: setting.price === null ? [] :
      ranked.map((one) => perMillion(one.rate, data.cells[one.number].devices, setting.price)[0]),
    chosen: answer.ranked.length ? data.cells[answer.ranked[0].number].name : null,
    frontiers: Object.fromEntries(Object.entries(found.frontiers).map(
      ([name, one]) => [name, [one.on.sort((a, b) => a - b), one.dominated.sort((a, b) => a - b)]])),
  };
}"""


def _same(shown: JS, expected: JS, setting: JS) -> None:
    assert shown["chosen"] == expected["chosen"], setting
    assert shown["why"] == {str(place): why for place, why in expected["why"].items()}, setting
    assert shown["caveats"] == expected["caveats"], setting
    assert shown["alternative"] == expected["alternative"], setting
    assert shown["verdicts"] == {str(place): verdict for place, verdict in expected["verdicts"].items()}, setting
    assert shown["violated"] == expected["violated"], setting
    assert len(shown["ranked"]) == len(expected["ranked"]), setting
    for ours, theirs in zip(shown["ranked"], expected["ranked"], strict=True):
        assert (ours[0], ours[4]) == (theirs[0], theirs[4]), setting
        assert ours[1:4] == pytest.approx(theirs[1:4], rel=1e-7), setting
    assert shown["costs"] == pytest.approx(expected["costs"], rel=1e-7), setting
    assert {name: shown["frontiers"][name] for name in expected["frontiers"]} == expected["frontiers"], setting


def test_the_script_concludes_what_python_concludes(browser: Browser, run: Path) -> None:
    results, opened = read_results(run), Opened(browser, run / "report.html")
    seen: set[str | None] = set()
    sentences: set[str] = set()
    for setting in _settings(results, 150):
        expected = _reference(results, setting)
        _same(opened.page.evaluate(ASK, setting), expected, setting)
        seen.add(expected["chosen"])
        sentences |= {*expected["caveats"], expected["alternative"]}
    for part in (
        "no cell meets",
        "on each; ",
        "is not significantly different",
        "is inconclusive",
        "or, if the quality of",
    ):
        assert any(part in sentence for sentence in sentences), part  # all kinds were compared
    assert len(seen) > 5  # the settings do change the answer, also to none
    assert None in seen
    assert opened.faults == []


def test_every_model_has_its_own_answer_and_figures(browser: Browser, tmp_path: Path) -> None:
    large = [trial("none", 20, 14.0, 80, model="org/large"), trial("rtn", 45, 4.0, 80, 2.001, model="org/large")]
    small = [trial("none", 300, 0.3, 50, model="org/small"), trial("rtn", 500, 0.1, 50, 2.001, model="org/small")]
    folder = _run(tmp_path / "run", [*large, *small], models=["org/large", "org/small"])
    results, opened = read_results(folder), Opened(browser, folder / "report.html")
    page = opened.page
    answers = page.evaluate("conclude(data, setting).answers")
    names = [page.evaluate(f"data.cells[{answer['ranked'][0]['number']}].name") for answer in answers]
    assert names == [answer.chosen.cell.trial.name for answer in results.answers if answer.chosen]
    assert [answer["caveats"] for answer in answers] == [[*answer.caveats] for answer in results.answers]
    assert "Then run large · rtn · e: " in page.locator("#then").inner_text()
    assert "Then run small · rtn · e: " in page.locator("#then").inner_text()
    for front in results.frontiers:
        count = page.locator(f"[data-plot={front.plot.name}] .cell.on:visible").count()
        assert count == len(front.on), front.plot.name
    assert _violations(opened) == []
    assert opened.faults == []


@pytest.mark.parametrize("name", ["four engines", "runs/ci"])
def test_so_it_does_for_real_runs(browser: Browser, four_engines: Path, name: str) -> None:
    """`configs/frontier-cpu.yaml` as it was swept once, and the reduced quick start that `.ci/run` sweeps."""
    folder = four_engines if name == "four engines" else ROOT / "runs" / "ci" / "ci"  # .ci/plan.yaml
    if not (folder / "report.html").exists():
        pytest.skip("runs/ci was not swept here")
    results, opened = read_results(folder), Opened(browser, folder / "report.html")
    for setting in _settings(results, 20):
        _same(opened.page.evaluate(ASK, setting), _reference(results, setting), setting)
    assert opened.page.locator("[data-plot] > svg").count() == len(page_data(results)["plots"])
    assert opened.faults == []
    assert _violations(opened) == []


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
    before, planned = page.locator("#then").inner_text(), page.locator(".answer strong").first.inner_text()
    assert f"Then run {planned}" in before
    on = f"[data-plot={plot}] .cell.on"
    count = page.locator(on).count()
    slider = page.get_by_role("slider", name=label)
    slider.focus()
    for _ in range(14):  # less and less, until another cell is chosen and others are on the frontier
        page.keyboard.press(key)
        opened.settle()
        most = float(page.locator(f"#{limit}-field").input_value())
        expected = _reference(results, page_data(results)["planned"] | {limit: most, "mix": {}, "without": {}})
        if expected["chosen"] != planned and (of == "four_engines" or len(expected["frontiers"][plot][0]) != count):
            break
    assert expected["chosen"] not in (None, planned)
    after = page.locator("#then").inner_text()
    assert f"Then run {expected['chosen']}:" in after
    assert page.locator(on).count() == len(expected["frontiers"][plot][0])
    assert of == "four_engines" or len(expected["frontiers"][plot][0]) != count
    address = page.evaluate("location.hash")
    assert address == f"#{limit}={most:g}"
    again = Opened(browser, run / "report.html", address)
    assert again.page.locator("#then").inner_text() == after
    assert float(again.page.locator(f"#{limit}-field").input_value()) == most
    again.page.get_by_role("button", name="as planned").click()
    again.settle()
    assert again.page.locator("#then").inner_text() == before
    assert again.page.evaluate("location.hash") == ""
    assert opened.faults == again.faults == []


def test_all_that_can_be_set_is_in_the_address(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html")
    page = opened.page
    page.get_by_role("button", name="research").click()
    page.get_by_label("price of a device").fill("7.5")
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
    assert again.page.locator("#ranked").inner_text() == page.locator("#ranked").inner_text()
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
    figure = page.locator("[data-plot=accuracy-throughput]")
    tip = page.locator(".tip")
    assert not tip.is_visible()
    figure.locator(".cell.on .mark").first.hover()
    assert "output tokens per second: " in tip.inner_text()
    figure.locator(".cell[tabindex='0']").focus()
    first = tip.inner_text()
    page.keyboard.press("ArrowRight")
    assert tip.inner_text() != first
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    assert opened.faults == []


@pytest.fixture(scope="module")
def four_engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real sweep of eleven checkpoints in four engines, packed by `benchmarks.pack`."""
    folder = tmp_path_factory.mktemp("four-engines")
    with tarfile.open(ROOT / "evidence" / "frontier-cpu-2026-11-22.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    write_report(folder)
    return folder


def _violations(opened: Opened) -> list[str]:
    violations = Axe().run(opened.page).response["violations"]
    return [
        f"{violation['id']}: {violation['nodes'][0]['html']}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]


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
    assert _violations(opened) == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width  # nothing hangs over a phone's edge


def test_without_scripts_figures_and_answer_are_there(browser: Browser, run: Path) -> None:
    opened = Opened(browser, run / "report.html", java_script_enabled=False)
    assert opened.page.locator("noscript img").first.is_visible()
    assert not opened.page.locator("#what-if").is_visible()
    assert "Run " in opened.page.locator(".answer").first.inner_text()


HOSTILE = (
    "<script>alert(1)</script>\"'`><img src=x onerror=alert(2)></script><!--<svg/onload=alert(3)>"
    "${1}{{7*7}}‮rtl &lt;b&gt;\\u003cscript\\u003e\n​"
) + "x" * 10_000


def test_hostile_text_is_text_everywhere(browser: Browser, tmp_path: Path) -> None:
    """In every text field of trials and of the sweep; nothing runs, nothing is asked for, and the page still works."""
    trials = [_hostile(result) for result in _trials()[:4]]
    broken = replace(failed(HOSTILE, HOSTILE), model=HOSTILE, engine=HOSTILE, device=HOSTILE)
    about = {"name": HOSTILE, "models": [HOSTILE], "notes": [HOSTILE], "device": HOSTILE, "command": HOSTILE}
    about |= {"plan": HOSTILE, "versions": {HOSTILE: HOSTILE}, "memory_source": HOSTILE}
    folder = _run(tmp_path / "run", [*trials, broken], **about, price={"per_device_hour": 1.0, "currency": HOSTILE})
    opened = Opened(browser, folder / "report.html")
    opened.page.get_by_role("button", name="research").click()
    opened.page.locator(".cell.on .mark").first.hover()  # a lopsided interval has its middle elsewhere
    opened.settle()
    assert opened.page.evaluate(
        "[document.scripts.length, document.images.length, document.querySelectorAll('b').length]"
    ) == [2, 0, 0]
    assert HOSTILE[:40] in opened.page.locator("h1").inner_text()
    assert HOSTILE[:40] in opened.page.locator("#ranked th").first.inner_text()
    assert HOSTILE[:40] in opened.page.locator(".tip strong").inner_text()
    assert opened.faults == []


def _hostile(result: Trial) -> Trial:
    gates = tuple(replace(gate, name=HOSTILE, detail=HOSTILE) for gate in result.gates)
    scores = tuple(replace(score, task=HOSTILE, group=HOSTILE) for score in result.scores)
    checkpoint = {**(result.checkpoint or {}), HOSTILE: HOSTILE}
    facts = {"command": HOSTILE, "kernel_warnings": HOSTILE, HOSTILE: HOSTILE}
    texts = {"model": HOSTILE, "method_label": f"{result.method} {HOSTILE}", "engine": HOSTILE, "device": HOSTILE}
    return replace(
        result, gates=gates, scores=scores, checkpoint=checkpoint, facts=facts, provenance={HOSTILE: HOSTILE}, **texts
    )


def test_the_only_script_that_may_run_is_ours(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert re.search(r"default-src 'none'; script-src 'sha256-[A-Za-z0-9+/]{43}='; ", policy[1])
    assert "unsafe-inline" not in policy[1].split("style-src")[0]
