"""The page in Chromium: what its script concludes is what Python concludes, whatever is set."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from rich.console import Console

from engines.runtime.own_packages import ROOT
from evals.schema.race_file import RaceState, Rules, write_race
from reports.decision.frontier.frontiers import plots
from reports.decision.recommend import refusal
from reports.decision.results import Results, read_results
from reports.decision.rules import LIMITS, TABLE
from reports.metrics.cost import Price
from reports.output.html_report import write_report
from reports.output.interactive_data import page_data
from reports.output.json_data import as_data
from reports.output.terminal.summary import print_results
from tests.support.accessibility import violations
from tests.support.browser import Opened, needs_chromium
from tests.support.made_trials import trial
from tests.support.page_reference import GROUPS, JS, page_reference
from tests.support.planted_page import SEARCHED, page_trials, write_page_run

pytestmark = needs_chromium

PLOTS = [
    [plot.name, *({"name": axis.name, "less": axis.less} for axis in (plot.x, plot.y))]
    for plot in plots("", "", Price(1.0, "EUR"), {})
]
REAL = {  # packed by `benchmarks.pack`
    "four engines": ("frontier-cpu-2026-11-22.tar.xz", ""),
    "A/A": ("aa-cpu-2026-11-28.tar.xz", ""),
    "quick start": ("quickstart-2026-11-28.tar.xz", ""),
    "H100": ("gpu-h100-2026-11-27/runs.tar.xz", "gpu-stage1"),
    "H100, large": ("gpu-h100-2026-11-27/runs.tar.xz", "gpu-stage2-large"),
}
# what is not all three; few questions of a new run show what chance lets them
VERDICTS = {"A/A": {"fails", "baseline"}, "H100, large": {"fails", "baseline"}, "runs/ci": {"baseline", "inconclusive"}}


@pytest.fixture(scope="module")
def real_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Unpacks a run of `evidence/` and writes its page."""

    def unpacked(name: str) -> Path:
        file, folder = REAL[name]
        place = tmp_path_factory.mktemp("real")
        with tarfile.open(ROOT / "evidence" / file) as archive:
            archive.extractall(place, filter="data")
        write_report(place / folder)
        return place / folder

    return unpacked


def _settings(results: Results, count: int) -> Iterator[JS]:
    """As the page's controls can make them, drawn at random."""
    draw, page = random.Random(0), page_data(results)
    for number in range(count):
        mixes: list[dict[str, float]] = [{}, {}, {"0": 1}, {"0": 2, "1": 1}, {"0": 5, "1": 0, "2": 3}]
        mixes = [mix for mix in mixes if all(int(load) < len(page["loads"]) for load in mix)]
        groups = {name: sorted({cell[name] for cell in page["cells"]}) for name in GROUPS}
        objectives = [*page["objectives"]]
        changed = page["planned"] | {
            "recovery": draw.choice([0.5, 0.9, 0.95, 0.99]),
            "perplexity": draw.choice([1.01, 1.05, 1.1, 3.0]),
            "memory": draw.choice([None, None, 1.0, 2.0, 3.0]),
            "ttft": draw.choice([None, None, 0.02, 0.05, 0.1, 1.0]),
            "tpot": draw.choice([None, None, 0.02, 0.04, 0.1]),
            "percentile": draw.choice(page["percentiles"]),
            "price": draw.choice([None, 0.0, 3.5]),
            "cost": draw.choice([None, 5.0, 20.0, 60.0]),
            "objective": objectives[number % len(objectives)],
            "mix": draw.choice(mixes),
            "without": draw.choice(
                [{}, {}, {"engine": ["vllm"]}, {"method": draw.sample(groups["method"], min(3, len(groups["method"])))}]
            ),
        }
        searched = {"ttft": SEARCHED.ttft_seconds, "tpot": SEARCHED.tpot_seconds, "percentile": SEARCHED.percentile}
        yield changed | (searched if changed["objective"] == "capacity" and draw.random() < 0.7 else {})


ASK = """([setting, plots]) => {
  const result = conclude(data, setting);
  return {
    answers: result.answers.map((answer) => ({
      ranked: answer.ranked.map((one) => [one.number, one.figure[0], low(one.rate), high(one.rate), one.serves]),
      violated: answer.violated.sort((a, b) => a - b),
      costs: setting.price === null ? [] : answer.ranked.filter((one) => data.cells[one.number].devices)
        .map((one) => perMillion(one.rate, data.cells[one.number].devices, setting.price)[0]),
      chosen: answer.chosen ? data.cells[answer.chosen.number].name : null,
      caveats: answer.caveats, alternative: answer.alternative, refusal: answer.chosen ? "" : refusal(data, answer),
    })),
    rows: Object.fromEntries(rowsOf(result, setting).map(([i, verdict, why]) => [i, [verdict, why]])),
    frontiers: Object.fromEntries(plots.map(
      ([name, x, y]) => [name, frontier(data, { x, y }, result.allowed, setting).sort((a, b) => a - b)])),
  };
}"""


def _same(shown: JS, expected: JS, setting: JS) -> None:
    """Verdicts, ranking, caveats and all their words; what is computed on both sides to seven digits."""
    assert shown["rows"] == expected["rows"], setting
    for ours, theirs in zip(shown["answers"], expected["answers"], strict=True):
        for name in ("chosen", "caveats", "alternative", "refusal", "violated"):
            assert ours[name] == theirs[name], (name, setting)
        assert [(row[0], row[4]) for row in ours["ranked"]] == [(row[0], row[4]) for row in theirs["ranked"]], setting
        for row, other in zip(ours["ranked"], theirs["ranked"], strict=True):
            assert row[1:4] == pytest.approx(other[1:4], rel=1e-7), setting
        assert ours["costs"] == pytest.approx(theirs["costs"], rel=1e-7), setting
    for name, on in expected["frontiers"].items():
        assert shown["frontiers"][name] == on, (name, setting)


def _limits_where_verdicts_turn(results: Results, count: int) -> Iterator[JS]:
    """Settings whose limits lie beside ends of the cells' own intervals, drawn at random."""
    draw, page = random.Random(7), page_data(results)
    ends: dict[str, list[float]] = {rule.key: [] for rule in LIMITS.values()}
    for cell in page["cells"]:
        for figures in (cell, cell["direct"] or {}, cell["engineLoss"] or {}):
            for key in ("recovery", "perplexity", "kl", "memory"):
                ends[key] += [end for end in figures.get(key) or () if end]
        for load in cell["loads"]:
            for key in ("ttft", "tpot"):
                ends[key] += [end for waits in load[key] or () for end in waits if end]
            ends["cost"] += [1e6 / 3600 / end for end in load["rate"] if end]

    def limit(key: str) -> float | None:
        near = (
            draw.choice(ends[key]) * draw.uniform(0.97, 1.03) if ends[key] else None
        )  # on no end: digits differ there
        return near if draw.random() < 0.5 else page["planned"][key]

    for _ in range(count):
        setting = page["planned"] | {"mix": {}, "without": {}, "price": draw.choice([None, 1.0])}
        setting |= {rule.key: limit(rule.key) for rule in LIMITS.values()}
        yield setting | {
            "percentile": draw.choice(page["percentiles"]),
            "objective": draw.choice([*page["objectives"]]),
        }


def test_the_script_concludes_what_python_concludes(browser: Browser, run: Path) -> None:
    results, opened = read_results(run), Opened(browser, run / "report.html")
    seen: set[str | None] = set()
    sentences: set[str] = set()
    for setting in _settings(results, 75):
        expected = page_reference(results, setting)
        _same(opened.page.evaluate(ASK, [setting, PLOTS]), expected, setting)
        (answer,) = expected["answers"]
        seen.add(answer["chosen"])
        sentences |= {*answer["caveats"], answer["alternative"]}
    for part in (
        "no cell meets",
        "on each; ",
        "is not significantly different",
        "is inconclusive",
        "or, if the quality of",
        "has a figure for: highest load within the SLO",
        "users or requests/s within the SLO, is not significantly different",
    ):
        assert any(part in sentence for sentence in sentences), part  # all kinds were compared
    assert len(seen) > 4  # the settings do change the answer, also to none
    assert None in seen
    assert opened.faults == []


def test_so_it_does_where_a_race_showed_cells_to_be_equal(browser: Browser, tmp_path: Path) -> None:
    trials = page_trials()
    equal = tuple(trial.key for trial in trials[1:9])
    state = RaceState(Rules(6, 0.03, 0.05), 3, ended="equal", equal=equal)
    write_race(write_page_run(tmp_path / "run", trials), state)
    write_report(tmp_path / "run")
    results, opened = read_results(tmp_path / "run"), Opened(browser, tmp_path / "run" / "report.html")
    assert len(results.planned.aim.tied) == len(equal)
    for setting in _settings(results, 24):
        _same(opened.page.evaluate(ASK, [setting, PLOTS]), page_reference(results, setting), setting)
        setting = setting | {"objective": results.planned.aim.objective, "price": None}
        _same(opened.page.evaluate(ASK, [setting, PLOTS]), page_reference(results, setting), setting)
    assert opened.faults == []


def test_every_model_has_its_own_answer_and_figures(browser: Browser, tmp_path: Path) -> None:
    large = [trial("none", 20, 14.0, 80, model="org/large"), trial("rtn", 45, 4.0, 80, 2.001, model="org/large")]
    small = [trial("none", 300, 0.3, 50, model="org/small"), trial("rtn", 500, 0.1, 50, 2.001, model="org/small")]
    folder = write_page_run(tmp_path / "run", [*large, *small], models=["org/large", "org/small"])
    results, opened = read_results(folder), Opened(browser, folder / "report.html")
    page = opened.page
    page.locator("#drawer > summary").click()
    answers = page.evaluate("conclude(data, setting).answers")
    names = [page.evaluate(f"data.cells[{answer['chosen']['number']}].name") for answer in answers if answer["chosen"]]
    assert names == [answer.chosen.cell.trial.name for answer in results.answers if answer.chosen]
    assert [answer["caveats"] for answer in answers] == [[*answer.caveats] for answer in results.answers]
    assert "Recommended: large · rtn · e: " in page.locator("#then").inner_text()
    assert "Recommended: small · rtn · e: " in page.locator("#then").inner_text()
    for front in results.frontiers:
        opened.show_axes(front.plot.x.name, front.plot.y.name)
        of = {standing.model for standing in front.standings}
        page.locator("#chart-model").select_option(label=of.pop() if len(of) == 1 else "all models")
        count = page.locator("#chart .cell.on").count()
        assert count == len(front.on), front.plot.name
    assert violations(opened) == []
    assert opened.faults == []


@pytest.mark.parametrize("models", [["m"], ["org/large", "org/small"]])
def test_why_there_is_no_answer_is_said_in_the_same_words(browser: Browser, tmp_path: Path, models: list[str]) -> None:
    """On the page as it is planned, where its controls lead to the same, in the terminal, and for scripts."""
    trials = [trial("none", 20, 14.0, 80, model=model) for model in models]
    limits = {"accuracy_recovery": 0.9, "perplexity_ratio": 1.1, "memory_gib": 0.001}
    folder = write_page_run(tmp_path / "run", trials, models=models, limits=limits)
    results, opened = read_results(folder), Opened(browser, folder / "report.html")
    opened.page.locator("#drawer > summary").click()
    expected = [refusal(answer, results.models) for answer in results.answers]
    named = [f" for {model}" for model in models] if len(models) > 1 else [""]
    assert expected == [f"no answer{name}: no measured cell meets the limits" for name in named]
    sentences = [f"{text[0].upper()}{text[1:]}." for text in expected]
    assert opened.page.locator("#then > p").all_inner_texts() == sentences
    assert opened.page.locator("section.answer strong").all_inner_texts() == sentences
    assert [answer["refusal"] for answer in as_data(results)["answers"]] == expected
    console = Console(record=True, width=400, file=io.StringIO())
    print_results(results, console)
    lines = "".join(f"No recommendation: {text.partition(': ')[2]}\n" for text in expected)
    assert lines in console.export_text()


@pytest.mark.parametrize("name", [*REAL, "runs/ci"])
def test_so_it_does_for_real_runs(browser: Browser, real_run: Callable[[str], Path], name: str) -> None:
    """Those of `evidence/`, and the reduced quick start that `.ci/run` sweeps."""
    folder = real_run(name) if name in REAL else ROOT / "runs" / "ci" / "ci"  # .ci/plan.yaml
    if not (folder / "report.html").exists():
        pytest.skip("runs/ci was not swept here")
    results, opened = read_results(folder), Opened(browser, folder / "report.html")
    verdicts: set[str] = set()
    for setting in (*_settings(results, 12), *_limits_where_verdicts_turn(results, 36)):
        expected = page_reference(results, setting)
        _same(opened.page.evaluate(ASK, [setting, PLOTS]), expected, setting)
        verdicts |= {verdict for verdict, _ in expected["rows"].values()}
    assert verdicts >= VERDICTS.get(name, {"meets", "fails", "inconclusive"})
    for front in results.frontiers:
        opened.show_axes(front.plot.x.name, front.plot.y.name)
        assert opened.page.locator("#chart .cell.on").count() == len(front.on), front.plot.name
    assert opened.faults == []
    assert violations(opened) == []


def test_a_changed_rule_changes_both_sides(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A threshold, an order, a direction, digits and words."""
    folder = write_page_run(tmp_path / "run", page_trials())
    results = read_results(folder)
    settings = [*_settings(results, 8)]
    before = [page_reference(results, setting) for setting in settings]
    monkeypatch.setitem(TABLE["thresholds"], "least_kept", 0.6)
    monkeypatch.setitem(TABLE["thresholds"], "most_names", 1)
    monkeypatch.setitem(TABLE["digits"], "check", 1)
    monkeypatch.setitem(TABLE["directions"]["at_least"], "meets", [["value", ">", "limit"]])
    monkeypatch.setitem(TABLE["orders"], "cells", TABLE["orders"]["cells"][2:])
    monkeypatch.setitem(TABLE["words"], "baseline", "the model as it is")
    write_report(folder)
    results, opened = read_results(folder), Opened(browser, folder / "report.html")
    after = [page_reference(results, setting) for setting in settings]
    for setting, expected in zip(settings, after, strict=True):
        _same(opened.page.evaluate(ASK, [setting, PLOTS]), expected, setting)
    assert sum(old["rows"] != new["rows"] for old, new in zip(before, after, strict=True)) == len(settings)
    assert any(old["answers"] != new["answers"] for old, new in zip(before, after, strict=True))
    assert "the model as it is" in str(after)
    assert opened.faults == []
