"""The highest load within the SLO as what is to be best: it is what a search confirmed, whatever the other loads were."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from evals.schema.load import LoadPoint, Speed
from evals.schema.slo import SLO, Search, SearchRange
from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from flows.orchestration.artifacts import answer_lines
from reports.decision.ranking import Aim
from reports.decision.results import Results, conclude
from reports.metrics.cost import Price
from reports.output.html_report import contents, render
from reports.output.interactive_data import page_data
from reports.output.json_data import as_data
from reports.output.terminal.summary import print_results
from tests.support.made_trials import ABOUT, request, speed, trial

LIMITS = SLO(0.5, None, 90)
SLO_OF_PLAN: dict[str, Any] = {"slo": {"ttft_seconds": 0.5, "tpot_seconds": None, "percentile": 90}}


def _offered(waits: float, rate: float = 5.0, count: int = 60) -> Speed:
    """So many requests a second are answered by any server that keeps up."""
    gap = 1 / rate
    sent = [gap * number for number in range(count)]
    repeat = tuple(replace(request(at, at + waits, 0.01, 11), due_seconds=at) for at in sent)
    return Speed(LoadPoint(None, count, 10, 11, rate, "constant"), (repeat,) * 3)


def _searched(engine: str, met: float, not_met: float | None, timed: Speed) -> Trial:
    """A cell that a fresh session confirmed to take `met` requests/s, and not `not_met`."""
    probes = [_offered(0.1, met), *([] if not_met is None else [_offered(0.9, not_met)])]
    search = Search(SearchRange("rate", 1, 8, 60, 10, 11), LIMITS, tuple(probes), (probes[0],))
    return replace(trial("none", 1, 1.0, 80, engine=engine), speed=(timed,), searches=(search,))


def _results(*trials: Trial, **about: Any) -> Results:
    return conclude({**ABOUT, **SLO_OF_PLAN, **about}, trials)


def test_fixed_loads_that_violate_the_slo_refuse_no_confirmed_load() -> None:
    results = _results(_searched("a", 4, 4.6, _offered(0.9)), _searched("b", 3, 3.4, _offered(0.9)))
    won = results.answer.won
    assert won is not None
    assert (won.name, won.figure.value, won.at) == ("none · a", 4, "4 requests/s, constant")
    assert results.answer.caveats == ()


def test_too_few_requests_at_a_fixed_load_make_no_other_cell_win() -> None:
    results = _results(_searched("few", 4, 4.6, _offered(0.1, count=3)), _searched("many", 2, 2.3, _offered(0.1)))
    won = results.answer.won
    assert won is not None
    assert (won.name, won.serves) == ("none · few", "met")
    assert results.answer.caveats == ()


@pytest.mark.parametrize(("most", "chosen"), [(100.0, "none · a"), (0.001, None)])
def test_the_cost_limit_holds_at_the_confirmed_load(most: float, chosen: str | None) -> None:
    """At 4 requests/s of 11 tokens a million of them takes 6.3 h."""
    cell = replace(_searched("a", 4, 4.6, _offered(0.9)), provenance={"engine_options": {"tensor_parallel": 1}})
    aim = Aim("capacity", LIMITS, price=Price(2.0, "EUR", most))
    results = _results(cell)
    answer = results.under(replace(results.planned, aim=aim)).answer
    assert (answer.won.name if answer.won else None) == chosen
    if chosen is None:
        assert answer.caveats == ("no cell meets the SLO and the cost limit",)


def test_another_slo_than_the_searched_one_has_no_highest_load() -> None:
    results = _results(_searched("a", 4, 4.6, _offered(0.1)))
    for slo in (SLO(0.4, None, 90), SLO(0.5, None, 95), SLO(0.5, 1.0, 90), None):
        answer = results.under(replace(results.planned, aim=Aim("capacity", slo))).answer
        assert answer.chosen is None
        assert answer.caveats == ("no cell that may meet the limits has a figure for: highest load within the SLO",)
    without = _results(_searched("a", 4, 4.6, _offered(0.1)), slo={**SLO_OF_PLAN["slo"], "ttft_seconds": 0.4})
    assert without.planned.aim.objective == "latency"


def test_the_page_offers_the_highest_load_where_one_was_searched() -> None:
    cell = _searched("a", 4, 4.6, _offered(0.1))
    assert "capacity" in page_data(_results(cell))["objectives"]
    assert "capacity" not in page_data(_results(replace(cell, searches=())))["objectives"]


def test_levels_that_a_search_does_not_tell_apart_are_not_significantly_different() -> None:
    """A search stops at 15 %: 8 against 7.4 says little."""
    answer = _results(_searched("a", 8, 9.1, _offered(0.1)), _searched("b", 7.4, 8.4, _offered(0.1))).answer
    (caveat,) = answer.caveats
    assert caveat.startswith(
        "its figure, 8.0 users or requests/s within the SLO, is not significantly different from that of"
    )
    assert answer.ratio is not None
    assert (answer.ratio.value, answer.ratio.low, answer.ratio.high) == pytest.approx((7.4 / 8, 7.4 / 9.1, 8.4 / 8))
    assert answer.worst_loss == pytest.approx(1 - 8 / 8.4)
    apart = _results(_searched("a", 8, 9.1, _offered(0.1)), _searched("b", 4, 4.6, _offered(0.1))).answer
    assert (apart.caveats, apart.worst_loss) == ((), 0.0)
    unbounded = _results(_searched("a", 8, 9.1, _offered(0.1)), _searched("b", 4, None, _offered(0.1))).answer
    assert unbounded.worst_loss is None


def test_a_cell_that_no_fresh_session_confirmed_is_still_a_contender() -> None:
    """It met 8 once: the confirmed 4 wins, and says that the other may be better."""
    once = _searched("b", 8, 9.1, _offered(0.1))
    once = replace(once, searches=(replace(once.searches[0], confirmed=()),))
    answer = _results(_searched("a", 4, 4.6, _offered(0.1)), once).answer
    assert answer.won is not None
    assert (answer.won.name, answer.won.serves) == ("none · a", "met")
    (other,) = answer.others
    assert (other.name, other.figure) == ("none · b", Estimate(8, 0, 9.1, 3))
    assert "inconclusive" in other.why
    assert page_data(_results(once))["cells"][0]["capacity"]["met"] is False


def test_what_was_offered_is_nowhere_the_highest_of_all() -> None:
    """On the page, in the terminal, for scripts and in Prefect."""
    results = _results(_searched("a", 4, 4.6, _offered(0.1)), _searched("b", 2, 2.3, _offered(0.1)))
    figure, title = (
        "4.00 [4.00, 4.60] users or requests/s within the SLO at 4 requests/s, constant",
        "the highest load within the SLO",
    )
    expected = f"{figure}, {title}"
    page = " ".join(render(contents(results), {}).split())
    assert "Recommended: <strong>none</strong> in <strong>a</strong>" in page
    assert f"{expected} of all cells that meet the limits" in page
    assert "output tokens/s at 5 requests/s" not in page
    assert "best throughput" not in page
    console = Console(record=True, width=400, file=io.StringIO())
    print_results(results, console)
    why = f"{title} of the cells that meet the limits; the unquantized baseline"
    assert f"Recommended: none · a: {figure}\nWhy: {why}" in console.export_text()
    data = as_data(results)
    assert (data["answer"]["objective"], data["answer"]["figure"]["value"]) == ("capacity", 4)
    assert answer_lines(data) == f"**Recommended: none · a**: {expected}"


def test_the_least_latency_is_said_where_it_was_ranked_by() -> None:
    quick, slow = (
        replace(trial("none", 1, 1.0, 80, engine=engine), speed=(_offered(waits),))
        for engine, waits in (("quick", 0.1), ("slow", 0.3))
    )
    page = " ".join(render(contents(_results(quick, slow)), {}).split())
    assert "Recommended: <strong>none</strong> in <strong>quick</strong>" in page
    assert "0.20 [" in page
    assert "the least median end-to-end latency at the lowest load of all cells that" in page


def test_closed_loads_have_a_best_throughput() -> None:
    timed = replace(trial("none", 10, 1.0, 80), speed=(speed(10),))
    assert "best throughput" in [title for title, _, _ in conclude(ABOUT, [timed]).answer.best]
