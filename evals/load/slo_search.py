"""The highest load that a server takes within limits: found by doubling and halving, each load told apart by its own
interval.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count

from engines.types import Endpoint
from evals.accuracy.divergence import Stage
from evals.load.benchmark import first_draw, run_load
from evals.load.prompts import Prompts
from evals.load.warm_up import warm_up
from evals.metrics.slo import LimitState, slo_verdict
from evals.schema.load import LoadPoint, Speed
from evals.schema.slo import SLO, Search, SearchRange

logger = logging.getLogger(__name__)

NARROW = 1.15  # a load that is kept and one that is not, so near to each other, end the search
LEAST_REQUESTS_A_USER = 3
Run = Callable[[LoadPoint, int], Speed]


def search_capacity(
    endpoint: Endpoint,
    searches: Sequence[tuple[SearchRange, SLO]],
    prompts: Prompts,
    *,
    repeats: int,
    seed: int,
    stage: Stage,
) -> list[Search]:
    """Every search on one server. Raises LoadFailed as `measure_speed` does."""

    def run(load: LoadPoint, repeat: int, drawn: Iterator[int]) -> Speed:
        if repeat == 0:
            run_load(endpoint, warm_up(load), prompts, seed=seed, repeat=next(drawn))
        advance = stage(f"capacity, {load.label}", load.requests)
        requests, client = run_load(endpoint, load, prompts, seed=seed, repeat=next(drawn), advance=advance)
        return Speed(load, (requests,), (client,))

    return [
        search(within, limits, partial(run, drawn=count(first_draw([within, limits]))), repeats)
        for within, limits in searches
    ]


def search(within: SearchRange, limits: SLO, run: Run, repeats: int) -> Search:
    """Try loads until the highest one within the limits is bracketed. `run` is one repeat of a load."""
    verdicts: dict[float, LimitState] = {}
    probes = []
    while (level := next_level(within, verdicts)) is not None:
        speed = _told_apart(load_at(within, level), limits, run, repeats)
        verdicts[level] = slo_verdict(speed, limits)
        probes.append(speed)
        logger.info("%s %g: the SLO is %s", within.over, level, verdicts[level])
    return Search(within, limits, tuple(probes))


def _told_apart(load: LoadPoint, limits: SLO, run: Run, repeats: int) -> Speed:
    """As many repeats as it takes to tell on which side of the limits the load is."""
    speed = run(load, 0)
    for repeat in range(1, repeats):
        if slo_verdict(speed, limits) != "inconclusive":
            break
        more = run(load, repeat)
        speed = Speed(load, (*speed.repeats, *more.repeats), (*speed.clients, *more.clients))
    return speed


def next_level(within: SearchRange, verdicts: Mapping[float, LimitState]) -> float | None:
    """Twice the highest that was kept, or what lies (geometrically) between it and the lowest that was not; None at the
    end.
    """
    if not verdicts:
        return within.lowest
    below, above = bracket(verdicts)
    if below is None or below >= within.highest:
        return None
    if above == math.inf:
        return min(2 * below, within.highest)
    if above <= NARROW * below:
        return None
    level = math.sqrt(below * above)
    middle = float(round(level)) if within.over == "concurrency" else float(f"{level:.3g}")
    return middle if below < middle < above else None


def bracket(verdicts: Mapping[float, LimitState]) -> tuple[float | None, float]:
    """The highest load that was kept below any that was not (None: not even the lowest), and the lowest that was not
    (infinite: all were). A higher one that looks better is chance.
    """
    above = min((level for level, verdict in verdicts.items() if verdict != "met"), default=math.inf)
    return max(
        (level for level, verdict in verdicts.items() if verdict == "met" and level < above), default=None
    ), above


def load_at(within: SearchRange, level: float) -> LoadPoint:
    """The load of a search at one concurrency or rate."""
    counts = within.prompt_tokens, within.output_tokens
    if within.over == "rate":
        return LoadPoint(None, within.requests, *counts, level, "poisson")
    users = int(level)
    cut = (
        2 * users - 1 if users > 1 else 0
    )  # at the start and in the drain (`evals.metrics.steady_state`): others must count
    return LoadPoint(users, max(within.requests + cut, LEAST_REQUESTS_A_USER * users), *counts)
