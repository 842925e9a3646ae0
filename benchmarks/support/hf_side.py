"""lm-eval's own `hf` model on some tasks. Runs in the environment `lm-eval-hf`.

Arguments: model folder, data root, output file, the tasks as JSON (`TaskSpec`), batch size, `softmax_dtype` of `hf`
("default" leaves it away), and how many items of each task (0 is all that the tasks ask for). The seconds are those of
scoring alone: on the clock, and of the CPU. OMP_NUM_THREADS says how many threads torch has.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from lm_eval.models.huggingface import HFLM

from benchmarks.support.hf_specs import WINDOW
from evals.accuracy.lm_eval_model import evaluate
from evals.tasks.loaded_tasks import TaskSpec, load_tasks


def main() -> None:
    folder, root, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    specs = [TaskSpec(**spec) for spec in json.loads(sys.argv[4])]
    batch, softmax, items = int(sys.argv[5]), sys.argv[6], int(sys.argv[7])
    exact = {} if softmax == "default" else {"softmax_dtype": softmax}
    model = HFLM(pretrained=folder, device="cpu", max_length=WINDOW, dtype="float32", batch_size=batch, **exact)
    tasks = load_tasks(specs, root, out.with_suffix(".work"), seed=0)
    chosen = tasks.ranked({spec.name: range(items) for spec in specs}) if items else None
    started, used = time.perf_counter(), time.process_time()
    scores = evaluate(model, tasks, chosen)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - used
    result = {"scores": {score.task: asdict(score) for score in scores}, "seconds": seconds, "cpu_seconds": cpu_seconds}
    out.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
