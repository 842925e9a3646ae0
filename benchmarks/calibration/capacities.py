"""Searches for the highest load within an SLO, on servers that wander or stall and whose capacity is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.calibration import before
from benchmarks.calibration.limits import Limit, print_judged
from evals.load.slo_search import capacity_of, confirm, level_of, search
from evals.schema.slo import SLO, Search, SearchRange
from tests.support.drifting_server import LIMIT_SECONDS, Server

REPEATS = 3
USERS, RATES = SearchRange("concurrency", 1, 16, 40, 16, 2), SearchRange("rate", 1, 16, 40, 16, 2)


def report_capacities(repeats: int) -> int:
    print(
        "\n## Searches for the highest load that meets the SLO: what is called met is too much % (want at most 5),"
        " and it is, of the capacity, at the median %\n"
    )
    print("| server | percentile | too much before | after | met % of capacity before | after | nothing met after |")
    print("|---|---|---|---|---|---|---|")
    wrong = [
        _row("steady", 90, repeats, {}),
        _row("wanders by 8 % within 5 minutes", 90, repeats, {"wander": 0.08}),
        _row("wanders by 8 % within 5 minutes", 99, repeats, {"wander": 0.08}),
        _row("stalls for 4 s every 60 s", 90, repeats, {"stall_seconds": 4.0, "stall_gap_seconds": 56.0}),
        _row("stalls for 4 s every 60 s: no capacity", 95, repeats, {"stall_seconds": 4.0, "stall_gap_seconds": 56.0}),
        _row("stalls for 8 s every 68 s: no capacity", 90, repeats, {"stall_seconds": 8.0, "stall_gap_seconds": 60.0}),
    ]
    return print_judged((Limit("too much after", 0.0, 5.0), wrong))


def _row(name: str, percentile: float, repeats: int, kind: dict[str, float]) -> float:
    """Print a row. Returns how often what is called met now is too much, in percent."""
    generator, limits = np.random.default_rng(0), SLO(LIMIT_SECONDS, None, percentile)
    within = replace(RATES if "stall_seconds" in kind else USERS, requests=150 if percentile > 95 else 40)
    shares: list[list[float]] = [[], []]
    for _ in range(repeats):
        server = Server(generator, float(generator.uniform(4, 14)), **kind)
        server.start()
        possible = server.capacity(percentile)
        truth = possible or 1e-9
        shares[0].append(before.capacity(within, limits, server.run, REPEATS) / truth)
        shares[1].append(_confirmed(replace(within, level_seconds=60.0), limits, server) / truth)
    wrong = [100 * float(np.mean(np.asarray(way) > 1)) for way in shares]
    middle = [f"{100 * float(np.median(way)):.0f}" if possible else "–" for way in shares]
    nothing = 100 * float(np.mean(np.asarray(shares[1]) == 0))
    cells = " | ".join([*(f"{share:.1f}" for share in wrong), *middle, f"{nothing:.0f}"])
    print(f"| {name} | {percentile:g} | {cells} |", flush=True)
    return wrong[1]


def _confirmed(within: SearchRange, limits: SLO, server: Server) -> float:
    searched = search(within, limits, server.run, REPEATS)
    server.start()
    again = confirm(searched, server.run, REPEATS)
    best = capacity_of(Search(within, limits, searched.probes, again.confirmed))
    return 0.0 if best is None else level_of(best)
