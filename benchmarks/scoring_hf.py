"""The other side of `benchmarks.scoring`: lm-eval's `hf` model. Runs in the environment `lm-eval-hf`.

Arguments: model folder, data root, output file, line, batch size. CPU-seconds are those of scoring alone.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
from lm_eval.models.huggingface import HFLM

from benchmarks.scoring_specs import LINES, THREADS, WINDOW
from evals.accuracy import evaluate
from evals.tasks import load_tasks


def main() -> None:
    folder, root, out, line, batch = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5])
    torch.set_num_threads(THREADS)
    model = HFLM(pretrained=folder, device="cpu", max_length=WINDOW, dtype="float32", batch_size=batch)
    tasks = load_tasks(LINES[line], root, out.with_suffix(".work"), seed=0)
    started = time.process_time()
    scores = evaluate(model, tasks, LINES[line])
    seconds = time.process_time() - started
    out.write_text(json.dumps({"scores": {one.task: asdict(one) for one in scores}, "seconds": seconds}))


if __name__ == "__main__":
    main()
