"""The other side of `benchmarks.parity`: lm-eval's `hf` model. Runs in the environment `lm-eval-hf`.

Arguments: model folder, data root, output file, and `softmax_dtype` of `hf` ("default" leaves it away).
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from lm_eval.models.huggingface import HFLM

from benchmarks.parity_specs import SPECS, THREADS, WINDOW
from evals.accuracy import evaluate
from evals.tasks import load_tasks


def main() -> None:
    folder, root, out, softmax = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(THREADS)
    exact = {} if softmax == "default" else {"softmax_dtype": softmax}
    model = HFLM(pretrained=folder, device="cpu", max_length=WINDOW, dtype="float32", **exact)
    tasks = load_tasks(SPECS, root, out.with_suffix(".work"), seed=0)
    started = time.perf_counter()
    scores = evaluate(model, tasks, SPECS)
    seconds = time.perf_counter() - started
    out.write_text(json.dumps({"scores": {one.task: asdict(one) for one in scores}, "seconds": seconds}))


if __name__ == "__main__":
    main()
