"""What the first screen shows: the answer in figures, beside the chart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from evals.schema.race_file import RaceState, Rules
from reports.decision.results import Results, conclude, read_results
from reports.decision.rules import CAVEATS
from reports.output.first_screen import Line, facts, lines, scored_on, tiles
from reports.output.html_report import write_report
from reports.output.interactive_data import page_data
from reports.output.race_view import sure
from tests.support.accessibility import violations
from tests.support.browser import Opened, needs_chromium
from tests.support.made_races import noisy, raced
from tests.support.made_runs import write_run
from tests.support.made_trials import ABOUT, trial
from tests.support.planted_page import page_trials, write_page_run


def _shown(results: Results) -> dict[str, tuple[str, str]]:
    return {tile.label: (tile.value, tile.detail) for tile in tiles(results, results.answer)}


def test_the_tiles_hold_the_chosen_cell_against_its_baseline() -> None:
    cells = [trial("none", 10, 2.0, 80), trial("fast", 30, 1.0, 80, 2.01)]
    price = {"per_device_hour": 3.6, "currency": "EUR"}
    shown = _shown(conclude({**ABOUT, "price": price}, cells))
    own = "unquantized in the same engine"
    against = f"[2.30, 3.90] × none · e, {own}; 30.0 [26.4, 34.1] output tokens/s at concurrency 1"
    assert shown["Throughput"] == ("3.00 × own baseline", against)
    assert shown["Needed memory"] == ("1.00 GiB", "50 % of the 2.00 GiB of none · e")
    lost = f"perplexity [+1.0, +1.0] %, accuracy [-4.7, +4.7] %, paired, against none · e, {own}"
    assert shown["Quality lost"] == ("+1.0 % perplexity\n+0.0 % accuracy", lost)
    assert shown["Cost"] == ("33.34 EUR", "per million output tokens at concurrency 1: 33.34 [29.36, 37.85]")


def test_quality_is_held_against_the_model_s_reference_by_its_name() -> None:
    """Speed against the unquantized model in the same engine, quality against another engine's: each is named."""
    cells = [
        trial("none", 10, 2.0, 82, engine="transformers"),
        trial("none", 20, 2.0, 80),
        trial("fast", 60, 1.0, 80, 2.01),
    ]
    results = conclude(ABOUT, cells)
    shown = {tile.label: tile for tile in tiles(results, results.answer)}
    assert "× none · e, unquantized in the same engine" in shown["Throughput"].detail
    assert shown["Quality lost"].detail.endswith("against none · transformers, the model's reference")
    assert shown["Throughput"].about == "baseline_ratio"
    assert shown["Quality lost"].about == "against_reference"
    assert [line.split(" % ")[1] for line in shown["Quality lost"].value.splitlines()] == ["perplexity", "accuracy"]


def test_the_chart_says_that_it_goes_by_the_own_baseline() -> None:
    """As the tile does not: its quality is against the model's reference."""
    chart = page_data(conclude(ABOUT, [trial("none", 10, 2.0, 80), trial("fast", 30, 1.0, 80, 2.01)]))["chart"]
    labels = {axis["name"]: axis["label"] for axis in chart["y"]}
    assert labels["perplexity"] == "perplexity ÷ own baseline's"
    assert labels["recovery"] == "accuracy ÷ own baseline's"


def test_an_unquantized_answer_has_lost_nothing() -> None:
    shown = _shown(conclude(ABOUT, [trial("none", 10, 2.0, 80)]))
    assert shown["Quality lost"] == ("none", "it is the unquantized baseline")
    assert "Cost" not in shown


def test_what_is_not_known_is_a_dash() -> None:
    cells = [trial("none", 10, 2.0, 80), replace(trial("fast", 30, 1.0, 80, 2.01), memory=None)]
    assert _shown(conclude(ABOUT, cells))["Needed memory"] == ("–", "not measured")


def test_without_an_answer_there_are_no_tiles() -> None:
    limits = {**ABOUT["limits"], "memory_gib": 0.001}
    results = conclude({**ABOUT, "limits": limits}, [trial("none", 10, 2.0, 80)])
    assert tiles(results, results.answer) == []


def test_throughput_of_a_race_is_paired_by_rounds() -> None:
    """Rounds that were slower for both are in neither's ratio."""
    wander = {number: 1 + 0.3 * (number % 2) for number in range(1, 7)}
    cells = [
        raced("none", {n: 10 * factor for n, factor in wander.items()}),
        raced("fast", {n: rate * wander[n] for n, rate in noisy(30, 6, 2, 0.001).items()}, 80, 2.001),
    ]
    results = conclude(ABOUT, cells, race=RaceState(Rules(6, 0.03, 0.05), 6, ended="winner"))
    value, detail = _shown(results)["Throughput"]
    low, high = (float(end) for end in detail[1 : detail.index("]")].split(", "))
    assert float(value.split()[0]) == pytest.approx(3, rel=0.01)
    assert high - low < 0.1


def test_without_a_race_what_is_not_known_of_the_speed_is_said() -> None:
    answer = conclude(ABOUT, [trial("none", 10, 2.0, 80), trial("fast", 30, 1.0, 80, 2.01)]).answer
    unknown = "Not known: each server was started once. Add `race: {}` to measure the variation between runs."
    assert sure(answer, None, raced=False).startswith(
        f"{unknown} Within this run, if another cell is the best, at most "
    )
    assert sure(answer, None, raced=True).startswith("If another cell is the best, at most ")
    alone = conclude(ABOUT, [trial("none", 10, 2.0, 80)]).answer
    assert sure(alone, None, raced=False) == unknown


def test_the_facts_say_what_was_run_where_when_and_on_how_much() -> None:
    origin = {"measured": {"started": "2026-11-28T03:00:00+00:00"}}
    cells = [replace(trial("none", 10, 2.0, 80), provenance=origin, facts={"version": "1.2"})]
    known = dict(facts(conclude({**ABOUT, "versions": {"bitfrontier": "0.1"}}, cells)))
    assert known["Model"] == "m"
    assert known["Machine"] == "a test, 1 thread"
    assert known["Time"] == "1 s of quantizing and measuring, 1 cell"
    assert known["Measured"] == "2026-11-28"
    assert known["Versions"] == "bitfrontier 0.1, e 1.2"
    assert known["Quality from"] == "100 questions of 1 task and 1,024 tokens of text"
    assert scored_on([]) == ""


def test_what_is_said_beside_the_tiles_has_a_short_label_and_each_label_once() -> None:
    cells = [
        replace(trial("none", 10, 2.0, 80), facts={"dtype": "float32"}),
        replace(trial("rtn", 30, 1.0, 80, 2.01), facts={"dtype": "float16"}),
        replace(trial("awq", 29, 1.0, 80, 2.01), facts={"dtype": "float16"}),
    ]
    about = {**ABOUT, "warnings": ["one core is busy"], "notes": ["a sample"]}
    results = conclude(about, cells)
    shown = {line.label: line for line in lines(results, results.answer)}
    assert list(shown) == ["Close rivals", "Runner-up", "Compute types", "Plan", "Notes"]
    assert [line.label for line in shown.values() if line.is_warning] == ["Close rivals", "Compute types", "Plan"]
    assert len(shown["Compute types"].texts) == 2
    assert shown["Plan"] == Line("Plan", ("one core is busy",), is_warning=True)
    assert results.warnings == (*shown["Compute types"].texts, "one core is busy")
    assert shown["Close rivals"].texts == results.answer.caveats


def test_the_alternative_is_not_named_a_second_time_as_the_runner_up() -> None:
    results = conclude(ABOUT, [trial("none", 100, 2.0, 80), trial("open", 130, 0.5, 72, 2.01)])
    assert results.answer.runner_up
    assert results.answer.alternative.startswith("or, if the quality of open · e is acceptable")
    shown = {line.label: line.texts for line in lines(results, results.answer)}
    assert shown["Alternative"] == (results.answer.alternative.removeprefix("or, "),)
    assert "Runner-up" not in shown


def test_what_is_to_be_typed_is_shown_as_code(tmp_path: Path) -> None:
    run = write_run(tmp_path, trial("none", 10, 2.0, 80))
    assert "Add <code>race: {}</code> to measure the variation" in write_report(run).read_text()


def test_every_kind_of_caveat_has_a_label_of_three_words_at_most() -> None:
    assert all(1 <= len(rule.label.split()) <= 3 for rule in CAVEATS)


def test_an_answer_that_is_not_given_has_the_run_s_warnings() -> None:
    limits = {**ABOUT["limits"], "memory_gib": 0.001}
    results = conclude({**ABOUT, "limits": limits, "warnings": ["one core is busy"]}, [trial("none", 10, 2.0, 80)])
    assert [line.label for line in lines(results, results.answer)] == ["Plan"]


@needs_chromium
def test_answer_and_chart_are_on_the_first_screen(browser: Browser, tmp_path: Path) -> None:
    folder = write_page_run(tmp_path / "run", page_trials())
    write_report(folder)
    opened = Opened(browser, folder / "report.html", viewport={"width": 1280, "height": 800})
    page = opened.page
    for place in (".answer h2", ".answer .tiles", ".answer .copy button", ".first #chart svg"):
        box = page.locator(place).first.bounding_box()
        assert box is not None, place
        assert box["y"] + box["height"] <= 800, place
    results = read_results(folder)
    assert results.answer.chosen is not None
    assert page.locator(".answer h2").inner_text().startswith("Recommended: ")
    assert page.locator("#drawer").get_attribute("open") is None
    page.locator("#drawer > summary").click()
    assert page.locator("#what-if").is_visible()
    page.locator("[data-copy]").first.click()
    page.locator(".copy [role=status]:not(:empty)").wait_for()
    assert violations(opened) == []
    assert opened.faults == []
