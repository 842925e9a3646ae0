"""What a search says of a cell, from its probes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from evals.schema.load import LoadPoint, Request, Speed
from evals.schema.slo import SLO, Search, SearchRange
from evals.schema.trial_file import read_trial
from evals.stats.intervals import Estimate
from quant.canonical_json import write_json
from reports.decision.recommend import decide
from reports.decision.results import read_results
from reports.decision.verdicts import Judged
from reports.metrics.cell import cell_metrics
from reports.metrics.slo_capacity import capacities, highest_load, served
from reports.output.formatting import slo_text
from reports.output.html_report import write_report
from reports.output.json_data import as_data
from tests.support.made_trials import ABOUT, trial

LIMITS = SLO(0.5, None, 90)
WITHIN = SearchRange("concurrency", 1, 64, 40, 16, 8)


def _probe(concurrency: int, slow: int) -> Speed:
    """40 requests one after the other, of which so many, the last ones, wait too long for the first token."""
    requests = []
    for number in range(40):
        at, ttft = 10.0 * number, 0.9 if number >= 40 - slow else 0.1
        chunks = tuple((at + ttft + 0.01 * n, n + 1) for n in range(8))
        requests.append(Request(at, chunks, chunks[-1][0], 16, 8))
    return Speed(LoadPoint(concurrency, 40, 16, 8), (tuple(requests), tuple(requests)))


def _cell(*probes: tuple[int, int], confirmed: tuple[tuple[int, int], ...] | None = None):  # type: ignore[no-untyped-def]
    """Each probe is a concurrency and how many are slow; those without a slow one are met again in a fresh session."""
    again = tuple(probe for probe in probes if probe[1] == 0) if confirmed is None else confirmed
    search = Search(WITHIN, LIMITS, tuple(_probe(*probe) for probe in probes), tuple(_probe(*probe) for probe in again))
    result = replace(trial("none", 10, 2.0, 80), searches=(search,))
    return cell_metrics(result, result)


def test_the_highest_kept_and_the_lowest_broken_load_are_told() -> None:
    (capacity,) = capacities([_cell((1, 0), (2, 0), (4, 20), (3, 4))])
    assert (capacity.met, capacity.inconclusive, capacity.violated) == (2, (3,), 4)
    assert capacity.text == "concurrency 2 meets the SLO, 3 inconclusive, 4 violates it"
    assert capacity.at is not None
    assert capacity.at.load.load.concurrency == 2
    assert capacity.at.ttft.value == pytest.approx(0.1)
    assert capacity.at.good.value == 1.0
    assert capacity.at.good.low < 0.96
    assert capacity.at.goodput.value == pytest.approx(capacity.at.load.request_rate.value)


def test_a_load_above_one_that_broke_is_not_kept() -> None:
    """Noise may make a higher load look better than a lower one: what counts is below the first that is not kept."""
    (capacity,) = capacities([_cell((1, 0), (2, 20), (4, 0))])
    assert (capacity.met, capacity.violated, capacity.inconclusive) == (1, 2, ())


def test_what_no_fresh_session_confirmed_is_inconclusive() -> None:
    """As it is of runs from before there was one; and where the fresh session met a lower load alone."""
    old, lower = capacities(
        [_cell((1, 0), (2, 0), (4, 20), confirmed=()), _cell((1, 0), (2, 0), (4, 20), confirmed=((2, 20), (1, 0)))]
    )
    assert (old.met, old.met_once, old.at) == (None, 2, None)
    assert old.text == "concurrency 2 inconclusive: met in one session, not tried on a fresh server, 4 violates it"
    assert (lower.met, lower.met_once) == (1, 2)
    assert lower.text.startswith(
        "concurrency 1 meets the SLO, concurrency 2 inconclusive: met in one session, not on a fresh server"
    )


def test_a_server_that_is_attached_has_no_fresh_session(tmp_path: Path) -> None:
    """Whatever older programs took for one."""
    cell = _cell((1, 0), (2, 0), (4, 20))
    attached = {**cell.trial.provenance, "attached": "http://127.0.0.1:8000"}
    result = replace(cell.trial, provenance=attached)
    (capacity,) = capacities([cell_metrics(result, result)])
    assert (capacity.met, capacity.met_once, capacity.at) == (None, 2, None)
    words = "concurrency 2 inconclusive: met in one session, of a server that cannot be restarted here, 4 violates it"
    assert capacity.text == words
    (tmp_path / "trials").mkdir()
    write_json(tmp_path / "trials" / "0.json", result)
    write_json(tmp_path / "sweep.json", {**ABOUT, "trials": ["0.json"]})
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "its capacity is met in one session and is not confirmed" in page
    assert '<td class="n">in one session</td>' in page


def test_the_ends_of_the_range() -> None:
    nothing, all_of_it = capacities([_cell((1, 20)), _cell((1, 0), (64, 0))])
    assert (nothing.met, nothing.violated, nothing.at) == (None, 1, None)
    assert (all_of_it.met, all_of_it.violated) == (64, None)
    assert nothing.text == "concurrency 1 not shown to meet the SLO, 1 violates it"
    assert all_of_it.text == "concurrency 64 meets the SLO"
    (open_end,) = capacities([_cell((1, 4))])
    assert (open_end.met, open_end.violated, open_end.inconclusive) == (None, None, (1,))
    assert open_end.text == "concurrency 1 not shown to meet the SLO, 1 inconclusive"


def test_goodput_counts_requests_within_every_limit() -> None:
    result = replace(trial("none", 10, 2.0, 80), speed=(_probe(1, 20),))
    (load,) = served([cell_metrics(result, result)], LIMITS)
    assert load.waiting.good.value == 0.5
    assert load.waiting.good.low == pytest.approx(0.393, abs=0.001)  # Wilson, 40 of 80
    assert load.waiting.goodput.value == pytest.approx(0.5 * load.waiting.load.request_rate.value)
    assert served([cell_metrics(result, result)], None) == []


def test_page_and_json_show_it(tmp_path: Path) -> None:
    (tmp_path / "trials").mkdir()
    cells = [_cell((1, 0), (2, 0), (4, 20), (3, 4)), _cell((1, 20)), _cell((1, 0), (64, 0))]
    for number, cell in enumerate(cells):
        result = replace(cell.trial, key=str(number), speed=(_probe(1, 20),))
        write_json(tmp_path / "trials" / f"{number}.json", result)
        assert read_trial(tmp_path / "trials" / f"{number}.json") == result
    about = {
        "trials": ["0.json", "1.json", "2.json"],
        "slo": {"ttft_seconds": 0.5, "tpot_seconds": None, "percentile": 90},
    }
    write_json(tmp_path / "sweep.json", {**ABOUT, **about})
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "p90 of TTFT ≤ 500 ms" in page
    assert "SLO capacity" in page
    assert "Goodput within the SLO" in page
    assert "below 1" in page
    assert "64, the highest tried" in page
    data = json.loads(json.dumps(as_data(read_results(tmp_path))))
    assert [(capacity["met"], capacity["violated"]) for capacity in data["capacities"]] == [
        (2, 4),
        (None, 1),
        (64, None),
    ]
    assert data["served"][0]["good_share"]["value"] == 0.5


def test_the_answer_names_the_cell_that_serves_most() -> None:
    cells = [_cell((1, 0), (2, 20)), _cell((1, 0), (2, 0), (3, 4), (4, 20))]
    cells = [
        replace(cell, trial=replace(cell.trial, method_label=name)) for cell, name in zip(cells, "ab", strict=True)
    ]
    answer = decide([Judged(cell, "meets", "fine", kept_with=1.0) for cell in cells])
    (best,) = [(name, text) for title, name, text in answer.best if title == "highest load within the SLO"]
    assert best == ("b · e", "concurrency 2 meets the SLO, 3 inconclusive, 4 violates it; meets")


def test_a_promise_in_words() -> None:
    assert slo_text(SLO(2.0, 0.1, 99)) == "p99 of TTFT ≤ 2000 ms, of TPOT ≤ 100 ms"
    assert slo_text(SLO(None, 0.03, 95)) == "p95 of TPOT ≤ 30 ms"


def test_a_load_that_no_fresh_session_confirmed_may_be_nothing() -> None:
    assert highest_load(_cell((1, 0), (2, 0)), LIMITS) == Estimate(2, 2, math.inf, 2)
    assert highest_load(_cell((1, 0), (2, 20), confirmed=()), LIMITS) == Estimate(1, 0, 2, 2)
    assert highest_load(_cell((1, 20), confirmed=()), LIMITS) is None
    assert highest_load(cell_metrics(trial("none", 10, 2.0, 80), None), LIMITS) is None
    assert highest_load(_cell((1, 0), (2, 0)), SLO(0.4, None, 90)) is None


def test_the_highest_load_lies_below_the_lowest_that_violated_the_slo() -> None:
    """In the search, where 3 is inconclusive and so no bound, or in the fresh session."""
    searched = highest_load(_cell((1, 0), (2, 0), (4, 20), (3, 4)), LIMITS)
    fresh = highest_load(_cell((1, 0), (2, 0), (4, 20), confirmed=((2, 20), (1, 0))), LIMITS)
    assert searched is not None
    assert fresh is not None
    assert (searched.low, searched.value, searched.high) == (2, 2, 4)
    assert (fresh.low, fresh.value, fresh.high) == (1, 1, 2)
