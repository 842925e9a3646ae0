"""lm-eval's own `hf` model on the lines of `benchmarks.hf_specs`. Runs in the environment `lm-eval-hf`.

Arguments: model folder, data root, output file, line, batch size, `softmax_dtype` of `hf` ("default" leaves it away),
and how many items of each task (0 is all of the line's). The seconds are those of scoring alone: on the clock, and of
the CPU.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from lm_eval.models.huggingface import HFLM

from benchmarks.hf_specs import LINES, THREADS, WINDOW
from evals.accuracy.lm_eval_model import evaluate
from evals.accuracy.lm_eval_tasks import load_tasks


def main() -> None:
    folder, root, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    line, batch, softmax, items = sys.argv[4], int(sys.argv[5]), sys.argv[6], int(sys.argv[7])
    torch.set_num_threads(THREADS)
    exact = {} if softmax == "default" else {"softmax_dtype": softmax}
    model = HFLM(pretrained=folder, device="cpu", max_length=WINDOW, dtype="float32", batch_size=batch, **exact)
    tasks = load_tasks(LINES[line], root, out.with_suffix(".work"), seed=0)
    chosen = tasks.ranked({spec.name: range(items) for spec in LINES[line]}) if items else None
    started, used = time.perf_counter(), time.process_time()
    scores = evaluate(model, tasks, chosen)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - used
    result = {"scores": {score.task: asdict(score) for score in scores}, "seconds": seconds, "cpu_seconds": cpu_seconds}
    out.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
