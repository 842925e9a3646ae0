"""The page in Chromium: what its script concludes is what Python concludes, whatever is set."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from rich.console import Console

from engines.runtime.own_packages import ROOT
from evals.schema.race_file import RaceState, Rules, write_race
from reports.decision.recommend import refusal
from reports.decision.results import Results, read_results
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
    chosen: answer.chosen ? data.cells[answer.chosen.number].name : null,
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
        expected = page_reference(results, setting)
        _same(opened.page.evaluate(ASK, setting), expected, setting)
        seen.add(expected["chosen"])
        sentences |= {*expected["caveats"], expected["alternative"]}
    for part in (
        "no cell meets",
        "on each; ",
        "is not significantly different",
        "is inconclusive",
        "or, if the quality of",
        "has a figure for: highest load within the SLO",
        "users or requests/s within the SLO is not significantly different",
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
    for setting in _settings(results, 60):
        _same(opened.page.evaluate(ASK, setting), page_reference(results, setting), setting)
        setting = setting | {"objective": results.planned.aim.objective, "price": None}
        _same(opened.page.evaluate(ASK, setting), page_reference(results, setting), setting)
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


@pytest.mark.parametrize("name", ["four engines", "runs/ci"])
def test_so_it_does_for_real_runs(browser: Browser, four_engines: Path, name: str) -> None:
    """`configs/frontier-cpu.yaml` as it was swept once, and the reduced quick start that `.ci/run` sweeps."""
    folder = four_engines if name == "four engines" else ROOT / "runs" / "ci" / "ci"  # .ci/plan.yaml
    if not (folder / "report.html").exists():
        pytest.skip("runs/ci was not swept here")
    results, opened = read_results(folder), Opened(browser, folder / "report.html")
    for setting in _settings(results, 20):
        _same(opened.page.evaluate(ASK, setting), page_reference(results, setting), setting)
    for front in results.frontiers:
        opened.show_axes(front.plot.x.name, front.plot.y.name)
        assert opened.page.locator("#chart .cell.on").count() == len(front.on), front.plot.name
    assert opened.faults == []
    assert violations(opened) == []
