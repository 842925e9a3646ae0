"""Run all simulations, two at a time, and print their tables."""

from __future__ import annotations

import argparse
import contextlib
import io
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
    "percentiles": (latencies.report_percentiles, 300),
}


def _table(part: str, share: int) -> str:
    report, repeats = PARTS[part]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        report(repeats // share)
    return text.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the repeats")
    share = 10 if parser.parse_args().quick else 1
    started = time.monotonic()
    print("# Calibration: before is the code of 2026-11-26, after is the code as it is\n", flush=True)
    with ProcessPoolExecutor(2) as pool:
        for text in pool.map(_table, PARTS, [share] * len(PARTS)):
            print(text, end="", flush=True)
    print(f"\n{time.monotonic() - started:.0f} seconds")


if __name__ == "__main__":
    main()
