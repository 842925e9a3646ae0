"""Rates and latencies of one load point, from its raw requests. One place per definition."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from evals.metrics.energy import slow_downs
from evals.metrics.saturation import keeps_up
from evals.metrics.steady_state import Steady, e2e, steady, tpot, ttft
from evals.metrics.throughput import first_stage, relative_half_width, steady_rates
from evals.schema.load import ClientLoad, LoadPoint, Request, Speed
from evals.stats.intervals import Clustered, Estimate, mean_t_log, percentile_interval

PERCENTS = (50, 95, 99)
LATE_SECONDS = 0.005
LATE_SHARE = 0.1
BUSY_SHARE = 0.9
# latencies tell how long the load was then, not how fast the server is
SATURATED = "saturated: requests arrive faster than they are served, and the queue grows"
CACHED_SHARE = 0.01  # what a server puts before every prompt may be known


@dataclass(frozen=True)
class Latency:
    """Percentiles (50, 95, 99) in seconds over the requests of all repeats that count (`evals.metrics.steady_state`),
    with intervals (`percentile_interval`). In a race too, over those of all visits: so that none is below a lower one,
    and an SLO is judged by the figure that is shown.

    TTFT: first token's arrival − start. TPOT: (end − first token) ÷ (output tokens − those of the first chunk). ITL:
    gaps between chunks, each divided by the tokens that the later chunk brought. E2E: end − start. A request starts
    when it was sent, in an open load when it was due.
    """

    ttft: tuple[Estimate, ...]
    tpot: tuple[Estimate, ...]
    itl: tuple[Estimate, ...]
    e2e: tuple[Estimate, ...]

    @property
    def tpot_p50(self) -> Estimate | None:
        """None where every answer came at once."""
        return self.tpot[0] if self.tpot else None

    @property
    def tpot_p50_seconds(self) -> float | None:
        return self.tpot_p50.value if self.tpot_p50 else None


@dataclass(frozen=True)
class LoadMetrics:
    """One load point. Rates are per second, geometric means over repeats with a t interval of their logarithms.
    `warnings` say why its numbers are not those of the server alone, or not of a steady state. `client_cores`:
    CPU-seconds of the load client a second of load, at most over repeats; None where it did not watch itself.
    `compared_e2e`: the median end-to-end latency in seconds that cells are ranked by; of a race by the model of its
    rounds, which a percentile over all requests is not comparable with.
    """

    load: LoadPoint
    output_rate: Estimate
    total_rate: Estimate
    request_rate: Estimate
    latency: Latency
    warnings: tuple[str, ...] = ()
    client_cores: float | None = None
    compared_e2e: Estimate | None = None


def load_metrics(speed: Speed) -> LoadMetrics:
    """Rates per repeat over its steady window, percentiles over the requests that tell of steady operation."""
    requests, counted = [request for repeat in speed.repeats for request in repeat], steady(speed)
    visits = list(speed.visits().values())  # repeats of one server in a race are not independent
    rates = [visit_rates(unit) for unit in (visits if len(visits) > 1 else [(repeat,) for repeat in speed.repeats])]
    latency = Latency(
        ttft=_percentiles(counted.of_started(ttft)),
        tpot=_percentiles(counted.of_ended(tpot)),
        itl=_percentiles(counted.of_ended(_gaps)),
        e2e=_percentiles(counted.of_ended(e2e)),
    )
    return LoadMetrics(
        load=speed.load,
        output_rate=mean_t_log([output for output, _, _ in rates], first_stage(speed)),
        total_rate=mean_t_log([total for _, total, _ in rates], first_stage(speed)),
        request_rate=mean_t_log([finished for _, _, finished in rates], first_stage(speed)),
        latency=latency,
        warnings=(
            *(() if keeps_up(speed) else (SATURATED,)),
            *_one_wave(speed.load, counted),
            *_wide(speed),
            *_cached(requests, speed.load),
            *_client_limits(speed.clients, latency),
            *slow_downs(speed),
        ),
        client_cores=_cores(speed.clients),
        compared_e2e=latency.e2e[0] if latency.e2e else None,
    )


def visit_rates(repeats: Sequence[Sequence[Request]]) -> tuple[float, ...]:
    """(output, prompt + output, requests) per second, geometric means over the repeats of one server."""
    rates = [(output, output + prompt, finished) for output, prompt, finished in map(steady_rates, repeats)]
    return tuple(mean_t_log(column).value for column in zip(*rates, strict=True))


def visit_medians(visit: Speed) -> dict[str, float]:
    """Medians (seconds) of one visit's requests that count, by name: `ttft 50` and so on; one observation each."""
    counted = steady(visit)
    samples = {"ttft": counted.of_started(ttft), "tpot": counted.of_ended(tpot), "e2e": counted.of_ended(e2e)}
    return {
        f"{name} 50": percentile_interval(sample, 50).value for name, sample in samples.items() if len(sample.values)
    }


def _gaps(request: Request) -> Sequence[float]:
    pairs = itertools.pairwise(request.chunks)
    return [(later - earlier) / (after - before) for (earlier, before), (later, after) in pairs]


def _percentiles(sample: Clustered) -> tuple[Estimate, ...]:
    return tuple(percentile_interval(sample, percent) for percent in PERCENTS) if len(sample.values) else ()


def _one_wave(load: LoadPoint, counted: Steady) -> list[str]:
    if not counted.one_wave:
        return []
    users = load.concurrency or 1
    wanted = 2 * users * (load.turns if load.turns > 1 else 1)
    return [f"no steady state: all {users} requests start together. Use at least {wanted} requests"]


def _wide(speed: Speed) -> list[str]:
    """The plan asked for a narrower interval than its repeats gave."""
    wanted = speed.load.target_relative_ci
    if wanted is None or (width := relative_half_width(speed)) <= wanted:
        return []
    return [
        f"after {len(speed.repeats)} repeats the interval of output tokens/s is ±{100 * width:.0f} % "
        f"(target ±{100 * wanted:.0f} %)"
    ]


def _cached(requests: Sequence[Request], load: LoadPoint) -> list[str]:
    """Prompts are distinct but for what the load says is shared, so that no more should be known already."""
    share = sum(request.cached_tokens or 0 for request in requests) / max(
        sum(request.prompt_tokens for request in requests), 1
    )
    if share <= load.known_share + CACHED_SHARE:
        return []
    return [f"{100 * share:.0f} % of the prompt tokens came from a prefix cache: TTFT is lower than for a new prompt"]


def _cores(clients: Sequence[ClientLoad]) -> float | None:
    return max((client.cpu_seconds / client.seconds for client in clients), default=None)


def _client_limits(clients: Sequence[ClientLoad], latency: Latency) -> list[str]:
    """Whether the client, and not the server, set the pace."""
    limits = []
    busy = _cores(clients) or 0.0
    if busy > BUSY_SHARE:
        limits.append(f"the load generator was the bottleneck: it used {100 * busy:.0f} % of its one core")
    late = max((client.lags_seconds[1] for client in clients), default=0.0)
    allowed = max(LATE_SECONDS, LATE_SHARE * (latency.tpot_p50_seconds or 0.0))
    if late > allowed:
        limits.append(
            f"the load generator's p99 send delay was {1000 * late:.0f} ms (limit {1000 * allowed:.0f} ms): "
            "latencies may be overstated by that"
        )
    return limits
