"""Perplexities of one model in every convention and engine: `python -m benchmarks.perplexities RUN --data-root FOLDER`.

RUN is the run folder of configs/perplexity-cpu.yaml. Prints each convention in each engine, its ratio to the first
engine's, and what the same conventions gave when they were computed once with plain Transformers (first 8,192 tokens of
WikiText-2's test; lm-eval's `wikitext` on the first two pages, which is scored here anew). What was computed then as
llama.cpp's counted the first token of each window's second half, which its tool leaves out: that is scored here too.
Exits 1 where an engine is off by more than 0.1 %.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.parity import served_model
from benchmarks.support.hf_specs import THREADS, WINDOW
from engines.registry import engines_by_name
from engines.runtime.cache import cache_folder
from engines.runtime.environments import build, resolve
from engines.runtime.server import serve
from engines.telemetry.device import cpu
from engines.types import Serving
from evals.accuracy.lm_eval_model import evaluate
from evals.api.tokenizers import load_tokenizer
from evals.data.corpora import wikitext2_test_raw
from evals.schema.accuracy import Score
from evals.scoring.loglikelihood import score
from evals.scoring.types import Pair
from evals.tasks.loaded_tasks import TaskSpec, load_tasks
from flows.sources.datasets import data_root
from flows.sources.model_facts import look_up_model
from flows.sources.models import prepare_model
from reports.decision.results import read_results
from reports.metrics.cell import CellMetrics

TOLERANCE = 0.001
KNOWN = {"perplexity (papers, 2048)": 24.147, "perplexity (strided, 2048/1024)": 22.105}
KNOWN_HALVES = 29.123
KNOWN_PAGES = {"word perplexity": 33.984, "byte perplexity": 1.97810, "bits per byte": 0.98411}


def in_engines(cells: Sequence[CellMetrics]) -> bool:
    """Print every convention in every engine. True where all agree."""
    columns = dict.fromkeys((task.task, task.metric) for cell in cells for task in cell.tasks)
    print(f"{'text':<11}{'convention':<34}{'engine':<14}{'value':>10}{'ratio':>10}{'known':>10}")
    agree = True
    for column in columns:
        perplexities = [
            (cell.trial.engine, task.estimate.value)
            for cell in cells
            for task in cell.tasks
            if (task.task, task.metric) == column
        ]
        for engine, value in perplexities:
            ratio = value / perplexities[0][1]
            agree = agree and abs(ratio - 1) <= TOLERANCE
            known = f"{KNOWN[column[1]]:.3f}" if column[1] in KNOWN else ""
            print(f"{column[0]:<11}{column[1]:<34}{engine:<14}{value:>10.4f}{ratio:>10.5f}{known:>10}")
    return agree


def in_transformers(root: Path) -> dict[str, float]:
    """lm-eval's figures of the first two pages, and llama.cpp's windows with whole second halves."""
    specs, environment = (TaskSpec("wikitext"),), resolve("transformers")
    build(environment, print)
    model = prepare_model(look_up_model("pypi:smollm2-135m-instruct", Path()), environment, print)
    engine = engines_by_name()["transformers"]
    options = {option.name: option.default for option in engine.options}
    tasks = load_tasks(specs, root, cache_folder() / "tasks" / "perplexities", seed=0)
    log = cache_folder() / "logs" / "perplexities.log"
    wanted = Serving(model.folder, cpu(), THREADS, WINDOW + 2)
    with serve(engine, environment, wanted, options, log=log) as (endpoint, _):
        (pages,) = evaluate(served_model(endpoint, model.folder), tasks, {"wikitext": [0, 1]})
        halves = score(endpoint, whole_halves(load_tokenizer(model.folder).encode(wikitext2_test_raw(root)).ids))
    mean = sum(sum(half.logprobs) for half in halves) / sum(len(half.logprobs) for half in halves)
    return _figures(pages) | {"llama.cpp's windows, whole second halves": math.exp(-mean)}


def whole_halves(ids: Sequence[int]) -> list[Pair]:
    """The first 8,192 tokens in windows of 512, the second 256 scored."""
    return [Pair(tuple(ids[s : s + 256]), tuple(ids[s + 256 : s + 512])) for s in range(0, 8192, 512)]


def _figures(score: Score) -> dict[str, float]:
    total = sum(loglikelihood[0] for loglikelihood in score.loglikelihoods)
    words, size = (
        sum(values[score.metrics.index(name)] for values in score.values)
        for name in ("word_perplexity", "byte_perplexity")
    )
    return {
        "word perplexity": math.exp(-total / words),
        "byte perplexity": math.exp(-total / size),
        "bits per byte": -total / size / math.log(2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data-root", required=True)
    given = parser.parse_args()
    agree = in_engines(read_results(given.run).cells)
    root = data_root(given.data_root, Path(), print)
    if root is None:
        raise SystemExit("this needs a local root")
    print("transformers: lm-eval's wikitext on its first two pages, and what was computed then as llama.cpp's")
    for name, value in in_transformers(root).items():
        print(f"{name:<45}{value:>24.5f}{KNOWN_PAGES.get(name, KNOWN_HALVES):>20.5f}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
