"""What orchestration costs: `python -m benchmarks.overhead`. It measures the orchestrator alone, no model, no engine.

A sweep of cells that do nothing goes through the flow as `bitfrontier sweep` runs it, on the embedded server: checks,
keys, task runs, trial files, the report's page. Planted are what would work: making a checkpoint, serving and measuring
(`flows.execute.rows.quantize`, `flows.execute.rows.measure`; with `--stages` that calls six stages that do nothing) and
the model's gates. Each size runs in processes of its own; per cell is what a cell adds, the slope between the smallest
size and this one, so that what a run costs once is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.kills import make_place
from engines.runtime.cache import cache_folder
from engines.runtime.process import descendants

SIZES = (50, 200, 500, 2000)
ENGINES = 10
PLANNED = 10_000
REPEATS = 3
MEASURES_NOTHING = "measures nothing"
ASIDE = ("--aside",)
OWN = ("checkpoints", "answers", "runs", "logs", "cells")  # of a sweep; all else in a cache is made once
STAGES = ("start", "gates", "speed", "accuracy", "perplexity", "predictions")


def write_plan(folder: Path, cells: int) -> Path:
    """`cells` / 10 methods × 10 engines: SmoothQuant of many strengths, our own server with many batch sizes."""
    from tests.support.checkpoints import write_tiny_model
    from tests.support.datasets import write_data_root

    write_data_root(folder)
    write_tiny_model(folder / "tiny")
    (folder / "text.txt").write_text("a b c d e f " * 2000)
    methods: list[dict[str, Any]] = [{"method": "none"}]
    methods += [
        {"method": "smoothquant", "name": f"smoothquant {n}", "parameters": {"smoothing_strength": n / cells}}
        for n in range(1, cells // ENGINES)
    ]
    plan = {
        "name": "nothing",
        "device": "cpu",
        "max_length": 64,
        "models": ["tiny"],
        "data": "root",
        "calibration": {"text": "text.txt", "samples": 16, "length": 256},
        "methods": methods,
        "engines": [{"engine": "transformers", "options": {"max_batch": n}} for n in range(1, ENGINES + 1)],
        "load": [{"concurrency": 2, "requests": 4, "prompt_tokens": 4, "output_tokens": 4}],
        "tasks": [{"task": "arc_easy", "limit": 4}],
        "environments": {name: {"python": sys.executable} for name in ("llmcompressor", "transformers")},
    }
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump(plan, sort_keys=False))
    return file


def plant(stages: bool) -> None:
    """Nothing is quantized, served or measured. Cells end as `unsupported`: no figure of theirs is a result."""
    import flows.execute.rows
    import flows.execute.worker_process
    import flows.sources.models
    from quant.types import Checkpoint

    def made(job: Any, *_: Any) -> Any:
        spec = job.spec
        return Checkpoint(job.key, job.model.name, spec, str(job.folder), 0, 16.0, None, {}, 0, "", {}, {})

    def measure(blank: Any, cell: Any, checkpoint: Any, environment: Any, device: Any, work: Any, target: Any) -> Any:
        for name in STAGES if stages else ():
            work.step(name, lambda: None)
        return replace(blank, status="unsupported", reason=MEASURES_NOTHING)

    for module, name, planted in (
        (flows.execute.rows, "quantize", made),
        (flows.execute.rows, "measure", measure),
        (flows.execute.worker_process, "finished_checkpoint", made),
        (flows.sources.models, "reference_outputs", lambda *_, **__: {}),
    ):
        setattr(module, name, planted)


def run(file: Path, stages: bool) -> dict[str, float]:
    """The whole flow in this process: seconds, CPU-seconds of this one and of its children (Prefect's server, the one
    aside), peak memory of this one.
    """
    from flows.plan.source import load_plan
    from flows.validate.plan import check

    began = time.process_time()
    check(load_plan(file))
    planning = time.process_time() - began
    from flows.execute import worker_process
    from flows.orchestration import api_server

    worker_process.COMMAND = ("-m", "benchmarks.overhead", *ASIDE, "stages" if stages else "plain")
    with api_server.prefect_api(file.parent / "prefect.log"):
        from flows.orchestration.sweep import sweep

        plant(stages)
        if stages:
            api_server.unwatched.set(False)
        began, used = time.monotonic(), time.process_time()
        report = Path(sweep(plan=str(file), runs=str(file.parent / "runs")))
        seconds, cpu_seconds = time.monotonic() - began, time.process_time() - used
    if any(MEASURES_NOTHING not in path.read_text() for path in report.parent.glob("trials/*.json")):
        raise SystemExit(
            f"a cell did not get as far as it should:\n{next(report.parent.glob('trials/*.json')).read_text()}"
        )
    server = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "planning": planning,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "children_cpu_seconds": server.ru_utime + server.ru_stime,
        "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def work_aside(kind: str) -> None:
    """The process in which cells are measured: `flows.execute.worker_process`, with nothing to do."""
    from flows.execute import worker_process

    plant(kind == "stages")
    worker_process.main()


def plan_only(file: Path) -> dict[str, float]:
    """What `bitfrontier plan` does before it prints."""
    from flows.plan.source import load_plan
    from flows.validate.estimate import estimate
    from flows.validate.plan import check

    began, used = time.monotonic(), time.process_time()
    estimate(check(load_plan(file)), file.parent / "runs")
    return {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - used}


def child(kind: str, cells: int) -> dict[str, float]:
    """One measurement in a process and a cache of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = write_plan(Path(folder), cells)  # here, since what it takes is none of the orchestrator's
        variables = {**os.environ, "BITFRONTIER_CACHE": f"{folder}/cache"}
        command = [sys.executable, "-m", "benchmarks.overhead", "--child", kind, str(file)]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        return dict(json.loads(done.stdout.splitlines()[-1]))


def start_up() -> tuple[float, float]:
    """Wall and CPU-seconds of `bitfrontier --help`."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "flows.cli", "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, used


def shown(values: list[float], scale: float = 1.0, digits: int = 1) -> str:
    low, high = min(values) * scale, max(values) * scale
    return f"{statistics.median(values) * scale:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def sizes(kind: str, counts: list[int], repeats: int) -> None:
    smallest: list[dict[str, float]] = []
    for cells in counts:
        samples = [child(kind, cells) for _ in range(repeats)]
        line = f"{kind}, {cells} cells: {shown([sample['seconds'] for sample in samples])} s"
        line += f", peak {shown([sample['mib'] for sample in samples], digits=0)} MiB"
        if smallest:
            base = cells - counts[0]
            for name in ("seconds", "cpu_seconds", "children_cpu_seconds"):
                once = statistics.median(sample[name] for sample in smallest)
                each = [(sample[name] - once) / base for sample in samples]
                line += f"; {name.replace('_', ' ')} a cell, ms: {shown(each, 1000)}"
        smallest = smallest or samples
        print(line, flush=True)


def share(plan: Path, runs: Path | None, more: list[str]) -> None:
    """A real sweep in a run and with checkpoints of its own: for how much of its wall time no quantizer and no engine
    lived, looked at ten times a second. What a machine makes once is there: environments, models, data, Prefect's
    database. That is start-up, Prefect, checks, keys, lm-eval's tasks, whatever lies between two children, and the
    report.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = make_place(
            Path(folder) / "place", [path.name for path in cache_folder().iterdir() if path.name not in OWN]
        )
        runs = runs or place.folder / "runs"
        command = [sys.executable, "-m", "flows.cli", "sweep", str(plan), "--runs", str(runs), *more]
        began = last = time.monotonic()
        spans: list[list[float]] = []
        with subprocess.Popen(command, env=place.variables, stdout=subprocess.DEVNULL) as sweep:
            while sweep.poll() is None:
                below = [words for descendant in descendants(sweep.pid) if (words := words_of(descendant))]
                now = time.monotonic()  # looks take longer while the cores are busy
                if not any(works(words) for words in below):
                    if spans and spans[-1][1] == last:
                        spans[-1][1] = now
                    else:
                        spans.append([last, now])
                last = now
                time.sleep(0.1)
        seconds = time.monotonic() - began
        cells = len(list(runs.glob("*/trials/*.json")))
    if sweep.returncode or not cells:
        raise SystemExit(f"the sweep ended with exit code {sweep.returncode}")
    alone = sum(end - start for start, end in spans)
    print(f"{plan}: {cells} cells, {seconds:.0f} s; no quantizer and no engine lived for {alone:.1f} s")
    print("of it", ", ".join(f"{end - start:.1f} s from {start - began:.0f} s on" for start, end in spans))
    print(f"{100 * alone / seconds:.1f} % of the wall time, {alone / cells:.2f} s a cell")


def words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def works(words: list[str]) -> bool:
    """A quantizer or an engine: what a guard has started, besides Prefect's server and the process aside."""
    return (
        "engines.runtime.supervisor" in words and "uvicorn" not in words and "flows.execute.worker_process" not in words
    )


def main() -> None:
    if tuple(sys.argv[1:2]) == ASIDE:
        kind = sys.argv[2]
        del sys.argv[1:3]
        work_aside(kind)
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", choices=("plain", "stages", "plan"))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--sweep", type=Path, help="Instead: the share of this plan's wall time, really swept.")
    parser.add_argument("--runs", type=Path, help="With --sweep: where its run is kept; an empty folder.")
    parser.add_argument("--data-root", help="With --sweep: as the sweep's own.")
    parser.add_argument("file", type=Path, nargs="?")
    given = parser.parse_args()
    if given.sweep:
        share(given.sweep, given.runs, ["--data-root", given.data_root] if given.data_root else [])
        return
    if given.child:
        print(json.dumps(plan_only(given.file) if given.child == "plan" else run(given.file, given.child == "stages")))
        return
    print(__doc__)
    print("median (lowest to highest)")
    helped = [start_up() for _ in range(5)]
    print(f"--help: {shown([a for a, _ in helped], digits=2)} s, {shown([b for _, b in helped], digits=2)} CPU-seconds")
    planned = [child("plan", PLANNED) for _ in range(given.repeats)]
    for name in ("seconds", "cpu_seconds"):
        print(f"planning {PLANNED} cells: {shown([cost[name] for cost in planned], digits=2)} {name.replace('_', ' ')}")
    sizes("plain", given.sizes, given.repeats)
    sizes("stages", given.sizes[:2], given.repeats)


if __name__ == "__main__":
    main()
