"""Run all simulations and print their tables."""

from __future__ import annotations

import argparse
import time

from benchmarks.calibration import frontier, likelihoods, quality


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the repeats")
    share = 10 if parser.parse_args().quick else 1
    started = time.monotonic()
    print("# Calibration: before is the code of 2026-11-26, after is the code as it is\n")
    quality.report(1000 // share)
    likelihoods.report(1000 // share)
    frontier.report(600 // share)
    print(f"\n{time.monotonic() - started:.0f} seconds")


if __name__ == "__main__":
    main()
