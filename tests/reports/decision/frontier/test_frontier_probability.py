"""How likely a cell is on a frontier, against brute force and against a simulated truth."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evals.stats.intervals import Estimate, exact, mean_t, mean_t_log
from reports.decision.frontier.frontier_probability import _median_draws, accuracy_draws, frontier_odds, latency_draws
from reports.decision.frontier.frontiers import frontiers
from reports.decision.frontier.pareto import Point, frontier
from reports.metrics.cell import CellMetrics, cell_metrics
from reports.metrics.cost import Price
from reports.metrics.ratios import mean_draws, rate_draws
from tests.support.made_trials import score, trial

VALUES = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.5, -1.0, math.nan, math.inf])


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=9))
def test_of_one_draw_it_is_the_frontier(pairs: list[tuple[float, float]]) -> None:
    points = [Point(str(i), str(i), exact(x), exact(y)) for i, (x, y) in enumerate(pairs)]
    best = {point.key for point in frontier(points)}
    odds = frontier_odds(np.asarray([[x] for x, _ in pairs]), np.asarray([[y] for _, y in pairs]))
    known = [math.isfinite(x) and math.isfinite(y) for x, y in pairs]
    assert [math.isnan(value) for value in odds] == [not expected for expected in known]
    assert {str(i) for i, value in enumerate(odds) if value == 1.0} == best
    assert set(odds[known].tolist()) <= {0.0, 1.0}


def test_there_may_be_no_cells() -> None:
    assert frontier_odds(np.empty((0, 5)), np.empty((0, 5))).tolist() == []
    assert frontiers([]) == []


def test_it_is_as_often_true_as_it_says() -> None:
    """Cells whose true rates and accuracies are known, measured in three repeats and on 60 shared questions."""
    generator, stated, true = np.random.default_rng(3), [], []
    for _ in range(150):
        rates, hard = generator.normal(10, 1, 4), generator.random((4, 60))
        shares = generator.uniform(0.4, 0.8, 4)
        draws = np.random.default_rng(0)
        x = np.stack([mean_draws(mean_t(rate + generator.normal(0, 0.6, 3)), draws) for rate in rates])
        cells = [_cell(f"m{i}", (hard[i] < shares[i]).astype(float).tolist()) for i in range(4)]
        stated += frontier_odds(x, accuracy_draws(cells, draws)).tolist()
        points = [Point(str(i), "", exact(rates[i]), exact(shares[i])) for i in range(4)]
        best = {point.key for point in frontier(points)}
        true += [str(i) in best for i in range(4)]
    odds, outcomes = np.asarray(stated), np.asarray(true)
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.01)):
        of = (odds >= low) & (odds < high)
        error = math.sqrt(0.25 / of.sum())
        assert of.sum() >= 30
        assert outcomes[of].mean() == pytest.approx(odds[of].mean(), abs=2 * error + 0.02)


def _cell(method: str, right: list[float], clusters: tuple[str, ...] = ()) -> CellMetrics:
    task_score = dataclasses.replace(score("arc", right), clusters=clusters)
    return cell_metrics(dataclasses.replace(trial(method, 10, 1, 50), scores=(task_score,)), None)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (2, 1), (12, 3)])
def test_flips_are_drawn_from_their_dirichlet_distribution(lost: int, gained: int) -> None:
    base = np.repeat([1.0, 0.0], [60, 40])
    cell = base.copy()
    cell[:lost], cell[60 : 60 + gained] = 0.0, 1.0
    cells = [_cell("none", base.tolist()), _cell("rtn", cell.tolist())]
    cells[1] = cell_metrics(cells[1].trial, cells[0].trial)
    first, other = accuracy_draws(cells, np.random.default_rng(0), 20_000)
    shares = np.random.default_rng(1).dirichlet([lost + 1, gained + 1, 100 - lost - gained + 1], 20_000)
    assert stats.ks_2samp(other - first, shares[:, 1] - shares[:, 0]).statistic < 0.0163


def test_it_is_as_often_true_as_it_says_where_few_answers_flip() -> None:
    """100 questions, of which at most 3 % flip either way; cells that no answer tells apart may differ: drawn by their
    questions alone, 14 % of those that are said to be on the frontier in less than 5 % are on it.
    """
    generator, stated, true = np.random.default_rng(4), [], []
    for _ in range(250):
        rates, flips = generator.normal(10, 1, 4), generator.uniform(0, 0.03, (2, 4))
        flips[:, 0] = 0.0  # the baseline itself
        draws, base = np.random.default_rng(0), generator.random(100) < 0.6
        cells = [_cell("none", base.astype(float).tolist())]
        for lost, gained in flips.T[1:]:
            luck = generator.random(100)
            cell = np.where(base, luck >= lost / 0.6, luck < gained / 0.4)
            made = _cell(f"m{len(cells)}", cell.astype(float).tolist())
            cells.append(cell_metrics(made.trial, cells[0].trial))
        x = np.stack([mean_draws(mean_t(rate + generator.normal(0, 0.3, 3)), draws) for rate in rates])
        stated += frontier_odds(x, accuracy_draws(cells, draws)).tolist()
        points = [Point(str(i), "", exact(rates[i]), exact(flips[1, i] - flips[0, i])) for i in range(4)]
        best = {point.key for point in frontier(points)}
        true += [str(i) in best for i in range(4)]
    odds, outcomes = np.asarray(stated), np.asarray(true)
    for low, high in ((0.0, 0.05), (0.05, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.01)):
        of = (odds >= low) & (odds < high)
        share = odds[of].mean()
        assert of.sum() >= 30
        assert outcomes[of].mean() == pytest.approx(share, abs=0.08 + 2 * math.sqrt(share * (1 - share) / of.sum()))


def test_shared_questions_tell_cells_apart_that_differ_in_few() -> None:
    """Alone each accuracy is uncertain by 10 points; that one answers three questions more is not."""
    first = [1.0] * 50 + [0.0] * 50
    more = [1.0] * 53 + [0.0] * 47
    draws, other = accuracy_draws([_cell("a", first), _cell("b", more)], np.random.default_rng(0))
    assert draws.std() == pytest.approx(0.05, rel=0.1)
    certainty = stats.beta(4, 1).sf(0.5)  # three gained and none lost, with an unseen one each
    assert (other > draws).mean() == pytest.approx(certainty, abs=0.015)
    assert draws.mean() == pytest.approx(0.5, abs=0.005)


def test_questions_of_one_passage_are_drawn_together() -> None:
    right = [1.0] * 50 + [0.0] * 50
    passages = tuple(f"p{i // 10}" for i in range(100))
    (alone,) = accuracy_draws([_cell("a", right)], np.random.default_rng(0))
    (shared,) = accuracy_draws([_cell("a", right, passages)], np.random.default_rng(0))
    assert shared.std() > 2.5 * alone.std()


@pytest.mark.parametrize(("alike", "counts_as"), [(False, 1.0), (True, 10.0)])
def test_an_unseen_flip_counts_as_many_questions_as_say_what_one_says(alike: bool, counts_as: float) -> None:
    """A cell that answers as its baseline does: what is left open are flips unseen so far."""
    luck = np.random.default_rng(5).random(40 if alike else 400)
    right = (np.repeat(luck, 10) if alike else luck) < 0.6
    passages = tuple(f"p{i // 10}" for i in range(400))
    cells = [_cell(name, right.astype(float).tolist(), passages) for name in ("none", "rtn")]
    cells[1] = cell_metrics(cells[1].trial, cells[0].trial)
    first, other = accuracy_draws(cells, np.random.default_rng(0))
    assert (other - first).std() == pytest.approx(math.sqrt(2) * counts_as / 400, rel=0.15)


def test_where_a_budget_stopped_the_baseline_is_moved() -> None:
    """The cell was asked the 40 hard ones, of which it answers as the baseline does."""
    base = trial("none", 10, 1, 60)
    task_score = dataclasses.replace(score("arc", [1.0] * 40), drawn=100)
    cell = cell_metrics(dataclasses.replace(trial("rtn", 10, 1, 60), scores=(task_score,)), base)
    (drawn,) = accuracy_draws([cell], np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(0.6, abs=0.005)
    unseen = 2 * 2.5**2 / 100**2  # a flip each way among the 40, each of which stands for 2.5 questions
    assert drawn.std() == pytest.approx(math.sqrt(0.6 * 0.4 / 100 + unseen), rel=0.1)


def test_a_cell_without_accuracy_has_none() -> None:
    cell = cell_metrics(dataclasses.replace(trial("none", 10, 1, 60), scores=()), None)
    assert np.isnan(accuracy_draws([cell], np.random.default_rng(0))).all()


def test_means_are_drawn_as_their_interval_says() -> None:
    estimate, generator = mean_t([9.0, 10.0, 11.0]), np.random.default_rng(0)
    drawn = mean_draws(estimate, generator, 200_000)
    assert np.percentile(drawn, [2.5, 50, 97.5]) == pytest.approx([estimate.low, 10.0, estimate.high], rel=0.02)
    assert mean_draws(exact(3.0), generator, 4).tolist() == [3.0] * 4
    assert np.isnan(mean_draws(mean_t([9.0]), generator, 4)).all()
    assert np.isnan(mean_draws(Estimate(1.0, -math.inf, 2.0, 3), generator, 4)).all()


def test_rates_are_drawn_as_their_interval_says() -> None:
    estimate, generator = mean_t_log([2.0, 10.0, 5.0]), np.random.default_rng(0)
    drawn = rate_draws(estimate, generator, 200_000)
    assert drawn.min() > 0
    middle = 100 ** (1 / 3)
    assert np.percentile(drawn, [2.5, 50, 97.5]) == pytest.approx([estimate.low, middle, estimate.high], rel=0.05)
    assert np.isnan(rate_draws(mean_t_log([9.0]), generator, 4)).all()


def test_medians_are_drawn_of_requests() -> None:
    cell = cell_metrics(trial("none", 10, 1, 60), None)
    drawn = latency_draws(cell, np.random.default_rng(0))
    seconds = [
        request.end_seconds - request.start_seconds for repeat in cell.trial.speed[0].repeats for request in repeat
    ]
    assert min(seconds) <= drawn.min() < drawn.max() <= max(seconds)
    assert np.median(drawn) == pytest.approx(np.median(seconds), rel=0.01)


def test_cells_on_frontiers() -> None:
    """Less accurate and slower than its baseline: sure to be off it; memory is taken as it was read."""
    base, slow = trial("none", 10, 2, 60), trial("rtn", 2, 1, 40)
    cells = [cell_metrics(result, base) for result in (base, slow)]
    rate, memory, latency, size = frontiers(cells)
    assert [(standing.name, standing.on, standing.odds) for standing in rate.standings] == [
        ("none · e", True, pytest.approx(1.0, abs=0.01)),
        ("rtn · e", False, pytest.approx(0.0, abs=0.01)),
    ]
    assert rate.on == ["none · e"]
    assert rate.open == []
    assert [standing.on for standing in memory.standings] == [True, True]
    assert [standing.odds for standing in latency.standings] == [1.0, 0.0]
    assert [(standing.on, standing.odds) for standing in size.standings] == [
        (True, pytest.approx(0.5, abs=0.05))
    ] * 2  # alike by value


def test_a_price_makes_a_frontier_of_cost() -> None:
    """Twice as fast on four devices is dearer."""
    base, four = trial("none", 10, 2, 60), trial("none", 20, 2, 40, label="four")
    base, four = (
        dataclasses.replace(result, checkpoint={}, provenance={"engine_options": {"tensor_parallel": count}})
        for result, count in ((base, 1), (four, 4))
    )
    cells = [cell_metrics(result, base) for result in (base, four)]
    *_, cost = frontiers(cells, Price(2.0, "EUR"))
    assert cost.plot.x.full_label == "EUR per million output tokens at concurrency 1 (less is better)"
    assert [round(value.value, 1) for cell in cells if (value := cost.plot.x.read(cell))] == [55.6, 111.1]
    assert [(standing.on, standing.odds) for standing in cost.standings] == [
        (True, pytest.approx(1.0, abs=0.03)),
        (False, pytest.approx(0.0, abs=0.03)),
    ]
    assert "perplexity-size" not in {front.plot.name for front in frontiers(cells)}  # no sizes, no such plot


@pytest.mark.parametrize("count", [2, 3, 4, 9, 50])
def test_medians_of_resamples_are_drawn_as_a_bootstrap_draws_them(count: int) -> None:
    """Kolmogorov and Smirnov's distance of 20,000 of either: 0.0163 would be exceeded once in 100 times."""
    values = np.sort(np.random.default_rng(1).exponential(size=count))
    generator, draws = np.random.default_rng(2), 20_000
    drawn = _median_draws(values, len(values), generator, draws)
    plain = np.median(values[generator.integers(0, count, (draws, count))], axis=1)
    assert stats.ks_2samp(drawn, plain).statistic < 0.0163
