"""Run all simulations, two at a time, and print their tables; exit 1 where a figure is outside its limits."""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from benchmarks.calibration import capacities, frontier, latencies, likelihoods, quality

PARTS = {
    "recovery": (quality.report_recovery, 500),
    "passages": (quality.report_passages, 500),
    "likelihoods": (likelihoods.report, 500),
    "frontier": (frontier.report, 1000),
    "capacities": (capacities.report_capacities, 100),
    "repeats": (latencies.report_repeats, 1000),
    "percentiles": (latencies.report_percentiles, 1000),
}


def _table(part: str, share: int) -> tuple[str, int]:
    """What a part prints, and how many of its figures are outside their limits."""
    report, repeats = PARTS[part]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        outside = report(repeats // share)
    return text.getvalue(), outside


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the repeats: too few for the limits")
    share = 10 if parser.parse_args().quick else 1
    started, outside = time.monotonic(), 0
    print("# Calibration: before is the code of 2026-11-26, after is the code as it is\n", flush=True)
    with ProcessPoolExecutor(2) as pool:
        for text, beyond in pool.map(_table, PARTS, [share] * len(PARTS)):
            print(text, end="", flush=True)
            outside += beyond
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"\n{outside} figures outside their limits; {time.monotonic() - started:.0f} seconds,", end=" ")
    print(f"{used.ru_utime + used.ru_stime:.0f} of processors")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
