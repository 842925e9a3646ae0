"""Figures of cells that were visited in rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from evals.schema.trial import Trial
from evals.stats.intervals import mean_t_log
from reports.decision.results import conclude
from reports.metrics.load import PERCENTS, load_metrics
from reports.output.interactive_data import page_data
from reports.output.tabular import rows
from reports.rounds.speeds import disturbed_blocks, estimates, figures_by_round, fit_figure, speed_models
from tests.support.made_races import noisy, raced, visited_speed
from tests.support.made_trials import ABOUT, speed

SLOW_ROUND = {1: 1.0, 2: 0.7, 3: 1.0, 4: 1.0}  # the whole machine was slower in the second


def _blocks(values: Mapping[str, Mapping[int, float]]) -> dict[str, dict[tuple[int, str, str], float]]:
    """All rounds on one host, by one process."""
    return {key: {(n, "", ""): value for n, value in of_cell.items()} for key, of_cell in values.items()}


def test_a_round_that_slows_all_cells_is_in_no_interval_of_theirs() -> None:
    rates = {"a": 100.0, "b": 90.0, "c": 80.0}
    values = {
        key: {number: rate * share * (1 + 0.001 * (number + place)) for number, share in SLOW_ROUND.items()}
        for place, (key, rate) in enumerate(rates.items())
    }
    fitted = fit_figure(_blocks(values))
    assert fitted is not None
    known = estimates(fitted)
    alone = mean_t_log(list(values["a"].values()))
    assert (known["a"].high - known["a"].low) / known["a"].value < 0.01
    assert (alone.high - alone.low) / alone.value > 0.4
    assert known["a"].value / known["b"].value == pytest.approx(100 / 90, rel=0.01)
    assert known["a"].count == 1 + (3 - 1) * (4 - 1)  # one more than the degrees of freedom


def test_a_cell_that_left_is_compared_as_if_it_had_been_there() -> None:
    """It was visited in the fast rounds alone, and is no faster for it."""
    shares = {1: 1.2, 2: 1.2, 3: 0.9, 4: 0.9}
    values = {
        "stays": {number: 100 * share for number, share in shares.items()},
        "too": {number: 101 * share * (1 + 0.002 * number) for number, share in shares.items()},
        "left": {number: 95 * shares[number] for number in (1, 2)},
    }
    fitted = fit_figure(_blocks(values))
    assert fitted is not None
    known = estimates(fitted)
    assert known["left"].value / known["stays"].value == pytest.approx(0.95, rel=0.01)
    assert known["left"].high - known["left"].low > known["stays"].high - known["stays"].low


def test_one_round_says_nothing_of_the_spread() -> None:
    assert fit_figure(_blocks({"a": {1: 10.0}, "b": {1: 11.0}})) is None
    assert fit_figure({}) is None


def test_a_visit_is_one_observation() -> None:
    """Its repeats, in one server, are not independent."""
    made = speed(50.0, 4, wobble=0.2)
    twice = replace(made, repeats=made.repeats * 2, rounds=(1, 1, 2, 2))
    figures = figures_by_round(twice)
    assert [*figures["output rate"]] == [1, 2]
    assert figures["output rate"][1] == figures["output rate"][2]
    rate = load_metrics(twice).output_rate
    assert rate.count == 2
    assert rate.low == pytest.approx(rate.high)
    assert figures["e2e 50"][1] > 0


def test_latencies_are_those_of_visits_too() -> None:
    rates = {1: 50.0, 2: 40.0, 3: 60.0}
    figures = figures_by_round(visited_speed(rates))
    for number, rate in rates.items():
        assert figures["tpot 50"][number] == pytest.approx(1 / rate)


def test_the_results_have_the_model_s_figures() -> None:
    cells = [raced("none", noisy(50, 4, 1)), raced("rtn", noisy(60, 4, 2)), raced("awq", noisy(40, 4, 3))]
    results = conclude(ABOUT, cells)
    (models,) = results.speed_models.values()
    assert {"output rate", "total rate", "request rate", "e2e 50"} <= models.keys()
    known = estimates(models["output rate"])
    for cell in results.cells:
        assert cell.loads[0].output_rate == known[cell.trial.key]
        assert cell.loads[0].compared_e2e == estimates(models["e2e 50"])[cell.trial.key]
        assert cell.loads[0].output_rate.count == 1 + 2 * 3


def _with_a_tail(made: Trial, slow: Mapping[int, float]) -> Trial:
    """The slowest of a visit's requests ends that many times as late."""
    (load,) = made.speed
    repeats = [
        (*requests[:-1], replace(requests[-1], end_seconds=requests[-1].end_seconds * slow[number]))
        for number, requests in zip(load.rounds, load.repeats, strict=True)
    ]
    return replace(made, speed=(replace(load, repeats=tuple(repeats)),))


def test_a_race_has_one_percentile_of_the_requests_wherever_it_is_shown() -> None:
    """A cell that left after the first round too: by a model of each percentile its 99th was below its 95th."""
    rounds = {1: 6.0, 2: 1.0, 3: 1.0}
    stays = [_with_a_tail(raced(name, noisy(rate, 3, rate)), rounds) for name, rate in (("none", 50), ("rtn", 60))]
    results = conclude(ABOUT, [*stays, raced("awq", {1: 40.0})])
    shown, lines = page_data(results), rows(results)
    place = {percent: shown["percentiles"].index(percent) for percent in PERCENTS}
    for cell, data, line in zip(results.cells, shown["cells"], lines, strict=True):
        load, of_requests = cell.loads[0], load_metrics(cell.trial.speed[0]).latency
        assert load.latency == of_requests
        for name in ("ttft", "tpot", "e2e"):
            values = [estimate.value for estimate in getattr(of_requests, name)]
            assert values == sorted(values)
        for percent, estimate in zip(PERCENTS, of_requests.tpot, strict=True):
            value, _, high = data["loads"][0]["tpot"][place[percent]]
            assert value == pytest.approx(estimate.value)
            assert (high is None) == (line[f"tpot_p{percent}_seconds_high"] == math.inf)
            assert line[f"tpot_p{percent}_seconds"] == estimate.value


QUIET = {"foreign": 0.02, "steal": 0.01, "pressure": 0.1, "load_average": 1.0}
BUSY = {**QUIET, "foreign": 0.23}


def beside_others(made: Trial, *rounds: int, parts: object = None) -> Trial:
    """As if other processes had been busy in these later rounds to the last attempt."""
    visits = [{**visit, "disturbed": ["others"] * (visit["round"] in rounds)} for visit in made.provenance["visits"]]
    return replace(made, provenance={**made.provenance, "visits": visits, "parts": parts})


def test_a_disturbed_visit_is_left_out_of_the_model() -> None:
    """The first one too, which is never repeated."""
    cells = [raced("none", noisy(50, 5, 1)), raced("rtn", noisy(60, 5, 2))]
    slow = {**noisy(40, 5, 3), 1: 20.0, 4: 25.0}
    first = {"load a": {"others": QUIET}, "load b": {"others": BUSY}, "gates": {}}
    disturbed = beside_others(raced("awq", slow), 4, parts=first)
    spared = raced("awq", {number: rate for number, rate in slow.items() if number not in (1, 4)})
    (models,), (expected,) = (speed_models([*cells, third]).values() for third in (disturbed, spared))
    assert estimates(models["output rate"]) == estimates(expected["output rate"])
    assert conclude(ABOUT, [*cells, disturbed]).cells[2].loads[0].output_rate.value == pytest.approx(40, rel=0.05)


@pytest.mark.parametrize("parts", [{"load a": {"others": QUIET}}, {"load a": {"others": {"foreign": []}}}, ["x"], {}])
def test_a_quiet_first_visit_is_not_disturbed_nor_one_that_does_not_say(parts: object) -> None:
    assert disturbed_blocks(beside_others(raced("none", noisy(50, 3, 1)), 3, parts=parts)) == {(3, "", "")}


def test_the_control_says_as_much_of_the_noise_and_is_no_cell() -> None:
    cells = [raced("none", noisy(50, 4, 1)), raced("rtn", noisy(60, 4, 2))]
    control = replace(raced("none", noisy(50, 4, 9)), key="control")
    results = conclude(ABOUT, cells, control=control)
    assert [cell.trial.key for cell in results.cells] == [cell.key for cell in cells]
    assert results.cells[0].loads[0].output_rate.count == 1 + 2 * 3


def test_cells_of_one_server_keep_their_own_figures() -> None:
    from tests.support.made_trials import trial

    plain = trial("none", 50, 1, 80)
    assert speed_models([plain]) == {}
    (cell,) = conclude(ABOUT, [plain]).cells
    assert cell.loads[0].output_rate == load_metrics(plain.speed[0]).output_rate
    assert math.isfinite(cell.loads[0].output_rate.high)


def test_what_was_measured_at_another_time_is_in_no_common_block() -> None:
    """A cell that was added a week later, when the machine was twice as fast, shares round numbers with the others."""
    cells = [raced("none", noisy(50, 4, 1)), raced("rtn", noisy(60, 4, 2))]
    late = raced("awq", noisy(100, 4, 3))
    visits = [{**visit, "session": "later"} for visit in late.provenance["visits"]]
    late = replace(late, provenance={"measured": {"session": "later"}, "visits": visits})
    assert speed_models([*cells, late]) == {}
    results = conclude(ABOUT, [*cells, late])
    rate = results.cells[2].loads[0].output_rate
    assert rate == load_metrics(late.speed[0]).output_rate  # its own visits, as if there were no rounds
    again = replace(late, provenance={"visits": late.provenance["visits"]})  # its first visit was with the others
    (models,) = speed_models([*cells, again]).values()
    assert models["output rate"].fit.degrees == 12 - (3 - 1) - (4 + 3)


def test_first_visits_by_several_workers_are_blocks_of_their_own_and_compare_nothing() -> None:
    cells = [raced(method, noisy(mean, 4, seed)) for method, mean, seed in (("none", 50, 1), ("rtn", 60, 2))]
    apart = [
        replace(cell, provenance={**cell.provenance, "measured": {"host": cell.method, "session": "a"}})
        for cell in cells
    ]
    (models,) = speed_models(apart).values()
    fit = models["output rate"].fit
    rates = {cell.key: figures_by_round(cell.speed[0])["output rate"] for cell in cells}
    later = fit_figure(_blocks({key: {n: rate for n, rate in of.items() if n > 1} for key, of in rates.items()}))
    assert later is not None
    assert fit.differences() == pytest.approx(later.fit.differences())
    assert fit.standard_errors() == pytest.approx(later.fit.standard_errors())
    assert fit.degrees == later.fit.degrees == (2 - 1) * (3 - 1)
