"""Is the load client right? `python -m benchmarks.load_client`: against a server whose schedule is known.

TTFT, TPOT and throughput at concurrency 1, 16 and 64 with 1 and 5 tokens a chunk; a replayed trace; then an open load
on a server that stalls for two seconds. Prints what is true, what was measured and the difference, and how late the
server itself sent (median, 99th percentile); exits 1 where a figure is off by more than 2 % and 1 ms, or the stall does
not show.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.support.schedule_server import Schedule
from engines.types import Dialect, Endpoint
from evals.load.benchmark import measure_speed
from evals.load.prompts import Prompts
from evals.load.traces import TraceRequest
from evals.schema.load import LoadPoint
from reports.metrics.load import LoadMetrics, load_metrics

DIALECT = Dialect(prompt_logprobs="none", chunk_tokens="usage", metrics=None)
OUTPUT_TOKENS = 50
TTFT_SECONDS, TPOT_SECONDS = 0.15, 0.02
STALL_SECONDS = 2.0


@contextmanager
def scheduled(schedule: Schedule) -> Iterator[Endpoint]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [sys.executable, "-m", "benchmarks.support.schedule_server", str(port), json.dumps(vars(schedule))]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as server:
        try:
            if server.stdout is None or server.stdout.readline().strip() != "ready":
                raise SystemExit("the server did not start")
            yield Endpoint(f"http://127.0.0.1:{port}", "", None, Path(), DIALECT, 0.0, {})
        finally:
            server.kill()


def lateness(endpoint: Endpoint) -> tuple[float, float, float]:
    """Of the server's own events since it was last asked, in seconds."""
    median, most, worst = httpx.get(endpoint.url + "/lateness").json()
    return median, most, worst


def measured(endpoint: Endpoint, load: LoadPoint) -> LoadMetrics:
    return load_metrics(measure_speed(endpoint, [load], Prompts(range(10, 1000)), repeats=2, seed=0)[0])


def close(concurrency: int, chunk_tokens: int) -> bool:
    """One line of the closed loop. True where all three figures are right."""
    schedule = Schedule(TTFT_SECONDS, TPOT_SECONDS, chunk_tokens)
    with scheduled(schedule) as endpoint:
        metrics = measured(endpoint, LoadPoint(concurrency, 4 * concurrency, 20, OUTPUT_TOKENS))
        late = lateness(endpoint)
    request_seconds = schedule.sent_at(0.0, -(-OUTPUT_TOKENS // chunk_tokens) - 1, 0.0)
    truth = (1000 * TTFT_SECONDS, 1000 * TPOT_SECONDS, concurrency * OUTPUT_TOKENS / request_seconds)
    seen = (1000 * metrics.latency.ttft[0].value, 1000 * metrics.latency.tpot[0].value, metrics.output_rate.value)
    off = [abs(a - b) / b for a, b in zip(seen, truth, strict=True)]
    right = [off[0] <= 0.02 or abs(seen[0] - truth[0]) <= 1, off[1] <= 0.02 or abs(seen[1] - truth[1]) <= 1]
    shown = "".join(f"{a:>10.2f}{b:>10.2f}{c:>8.1%}" for a, b, c in zip(truth, seen, off, strict=True))
    print(f"{concurrency:>11}{chunk_tokens:>7}{shown}{1000 * late[0]:>9.2f}{1000 * late[1]:>8.2f}", flush=True)
    for warning in metrics.warnings:
        print(f"  {warning}")
    return all(right) and off[2] <= 0.02


def replays() -> bool:
    """A recorded load, four requests at a time with counts of their own: TTFT counts from when they were due, so that
    it is right only if they are sent on time.
    """
    trace = [TraceRequest(n, n // 4 * 0.3, 8 + n % 50, 2 + n % 30) for n in range(200)]
    load = LoadPoint(None, len(trace), 57, 31, 26.9, "trace", trace="a trace", trace_speedup=2.0)
    prompts = Prompts(range(10, 1000), traces={load.trace: trace})
    with scheduled(Schedule(TTFT_SECONDS, TPOT_SECONDS)) as endpoint:
        speed = measure_speed(endpoint, [load], prompts, repeats=2, seed=0)[0]
        late = lateness(endpoint)
    latency = load_metrics(speed).latency
    seen = [1000 * estimate.value for estimate in (latency.ttft[0], latency.ttft[2], latency.tpot[0])]
    truth = [1000 * seconds for seconds in (TTFT_SECONDS, TTFT_SECONDS, TPOT_SECONDS)]
    print(
        f"a trace of {len(trace)} requests, replayed twice: TTFT p50 {seen[0]:.2f} ms, p99 {seen[1]:.2f} ms (true: "
        f"{truth[0]:g} ms), TPOT p50 {seen[2]:.2f} ms (true: {truth[2]:g} ms); the server was late by "
        f"{1000 * late[0]:.2f} ms, p99 {1000 * late[1]:.2f} ms"
    )
    return all(abs(a - b) <= max(1.0, 0.02 * b) for a, b in zip(seen[::2], truth[::2], strict=True))


def stalls(rate_per_second: float) -> bool:
    """Open load over a stall: its p99 of TTFT must be near the stall's length, with requests counted from when they
    were due.
    """
    schedule = Schedule(0.05, 0.005, 1, stall_after_seconds=3.0, stall_seconds=STALL_SECONDS)
    load = LoadPoint(None, 200, 20, 10, rate_per_second, "poisson")
    with scheduled(schedule) as endpoint:
        speed = measure_speed(endpoint, [load], Prompts(range(10, 1000)), repeats=1, seed=0)[0]
    metrics = load_metrics(speed)
    print(
        f"open load, {rate_per_second:g} requests/s, a stall of {STALL_SECONDS:g} s: TTFT p50 "
        f"{1000 * metrics.latency.ttft[0].value:.0f} ms, p99 {1000 * metrics.latency.ttft[2].value:.0f} ms"
    )
    return metrics.latency.ttft[2].value > 0.8 * STALL_SECONDS


def main() -> int:
    heads = "".join(f"{title:>10}{'measured':>10}{'off':>8}" for title in ("TTFT, ms", "TPOT, ms", "tokens/s"))
    print(f"{'concurrency':>11}{'chunk':>7}{heads}{'late p50':>9}{'p99, ms':>8}")
    right = [close(concurrency, chunk) for concurrency in (1, 16, 64) for chunk in (1, 5)]
    return 0 if all([*right, replays(), stalls(20.0)]) else 1


if __name__ == "__main__":
    sys.exit(main())
