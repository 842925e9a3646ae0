"""How long the command line takes to refuse each bad plan of the tests: `python -m benchmarks.bad_plans`."""

from __future__ import annotations

import copy
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from engines.runtime.own_packages import ROOT
from tests.support.bad_plans.all_kinds import BAD
from tests.support.bad_plans.changes import GOOD
from tests.support.checkpoints import write_tiny_model


def main() -> int:
    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tiny_model(folder / "tiny")
        (folder / "text.txt").write_text("a b c d " * 2000)
        for case, (change, _, _) in BAD.items():
            plan = copy.deepcopy(GOOD)
            change(plan)
            (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
            command = [sys.executable, "-m", "flows.cli", "plan", str(folder / "plan.yaml")]
            started = time.monotonic()
            done = subprocess.run(
                command, capture_output=True, cwd=ROOT, env={**os.environ, "HF_HUB_OFFLINE": "1"}, check=False
            )
            seconds[case] = time.monotonic() - started
            if done.returncode != 2:
                print(f"{case}: exit code {done.returncode}, not 2")
    worst = max(seconds, key=lambda case: seconds[case])
    median = statistics.median(seconds.values())
    print(f"{len(seconds)} bad plans: median {median:.2f} s, slowest {seconds[worst]:.2f} s ({worst})")
    return 0 if seconds[worst] < 3 else 1


if __name__ == "__main__":
    sys.exit(main())
