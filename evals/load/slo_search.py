"""The highest load that a server takes within limits: found by doubling and halving, each load told apart by its own
interval.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count

from engines.types import Endpoint
from evals.accuracy.divergence import Stage
from evals.load.benchmark import first_draw, run_load
from evals.load.prompts import Prompts
from evals.load.warm_up import warm_up
from evals.metrics.slo import LimitState, slo_verdict
from evals.schema.load import LoadPoint, Speed
from evals.schema.slo import LEAST_REPEATS, SLO, Search, SearchRange
from evals.stats.intervals import CONFIDENCE, least_count

logger = logging.getLogger(__name__)

NARROW = 1.15  # a load that is kept and one that is not, so near to each other, end the search
LEAST_REQUESTS_A_USER = 3
MOST_CONFIRMED = 3
CONFIRMED_CONFIDENCE = 1 - (1 - CONFIDENCE) / MOST_CONFIRMED
Run = Callable[[LoadPoint, int], Speed]


def search_capacity(
    endpoint: Endpoint, within: SearchRange, limits: SLO, prompts: Prompts, *, repeats: int, seed: int, stage: Stage
) -> Search:
    """One search on a server. Raises LoadFailed as `measure_speed` does."""
    run = _runner(endpoint, prompts, seed, first_draw([within, limits]), stage)
    return search(within, limits, run, repeats)


def confirm_capacity(
    endpoint: Endpoint, searched: Search, prompts: Prompts, *, repeats: int, seed: int, stage: Stage
) -> Search:
    """What was found, tried on a server that was started anew. Raises LoadFailed as `measure_speed` does."""
    run = _runner(endpoint, prompts, seed, first_draw([searched.within, searched.limits, "confirmed"]), stage)
    return confirm(searched, run, repeats)


def _runner(endpoint: Endpoint, prompts: Prompts, seed: int, first: int, stage: Stage) -> Run:
    drawn = count(first)

    def run(load: LoadPoint, number: int) -> Speed:
        if number == 0:
            run_load(endpoint, warm_up(load), prompts, seed=seed, repeat=next(drawn))
        advance = stage(f"capacity, {load.label}", load.requests)
        requests, client = run_load(endpoint, load, prompts, seed=seed, repeat=next(drawn), advance=advance)
        return Speed(load, (requests,), (client,))

    return run


def search(within: SearchRange, limits: SLO, run: Run, repeats: int) -> Search:
    """Try loads until the highest one within the limits is bracketed. `run` is one run of a load, with its number among
    the runs of that load in a row.
    """
    verdicts: dict[float, LimitState] = {}
    probes = []
    while (level := next_level(within, verdicts)) is not None:
        seconds = within.level_seconds / max(repeats, LEAST_REPEATS)
        speed = _lasting(load_at(within, level), seconds, run, repeats)
        verdicts[level] = slo_verdict(speed, limits)
        probes.append(speed)
        logger.info("%s %g: the SLO is %s", within.over, level, verdicts[level])
    return Search(within, limits, tuple(probes))


def confirm(searched: Search, run: Run, repeats: int) -> Search:
    """Try the loads that were found again, the highest first, until one meets the limits. Each of the repeats lasts as
    long as a whole level of the search did: what wanders within minutes, or stalls once in one, is to be seen.
    """
    within, limits = searched.within, searched.limits
    least = math.ceil(least_count(limits.percentile, CONFIRMED_CONFIDENCE) / max(repeats, LEAST_REPEATS))
    longer = replace(within, requests=max(within.requests, least))
    confirmed = []
    for level in levels_found(searched)[:MOST_CONFIRMED]:
        speed = _lasting(load_at(longer, level), within.level_seconds, run, repeats)
        verdict = confirmation(speed, limits)
        confirmed.append(speed)
        logger.info("%s %g in a fresh session: the SLO is %s", within.over, level, verdict)
        if verdict == "met":
            break
    return Search(within, limits, (), tuple(confirmed))


def _lasting(load: LoadPoint, seconds: float, run: Run, repeats: int) -> Speed:
    """Repeats that each take about so long or longer. A first run that is too short tells how many requests it takes,
    and does not count. The verdict is looked for once, after all of them: looks in between would each cost confidence.
    """
    speed, runs = run(load, 0), count(1)
    took = max(request.end_seconds for request in speed.repeats[0])
    took -= min(request.start_seconds for request in speed.repeats[0])
    if took < seconds:
        load = replace(load, requests=math.ceil(load.requests * seconds / took))
        speed = run(load, next(runs))
    while len(speed.repeats) < max(repeats, LEAST_REPEATS):
        more = run(load, next(runs))
        speed = Speed(load, (*speed.repeats, *more.repeats), (*speed.clients, *more.clients))
    return speed


def levels_found(searched: Search) -> list[float]:
    """The loads of a search that met the limits below any that did not, the highest first."""
    verdicts = {level_of(probe): slo_verdict(probe, searched.limits) for probe in searched.probes}
    _, above = bracket(verdicts)
    return sorted((level for level, verdict in verdicts.items() if verdict == "met" and level < above), reverse=True)


def confirmation(speed: Speed, limits: SLO) -> LimitState:
    """The verdict on one of MOST_CONFIRMED loads that may be tried: they share the error rate."""
    return slo_verdict(speed, limits, CONFIRMED_CONFIDENCE)


def capacity_of(searched: Search) -> Speed | None:
    """The highest load that met the limits in the search and again in a fresh session, as it was there."""
    levels = levels_found(searched)
    met = [
        speed
        for speed in searched.confirmed
        if level_of(speed) in levels and confirmation(speed, searched.limits) == "met"
    ]
    return max(met, key=level_of, default=None)


def level_of(speed: Speed) -> float:
    return speed.load.concurrency or speed.load.rate_per_second or 0.0


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
