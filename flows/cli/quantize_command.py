"""One checkpoint of a plan, made for serving: what a report's answer says to run."""

from __future__ import annotations

from pathlib import Path

from engines.runtime.environments import build
from flows.execute import rows
from flows.execute.prepare import environments_of, jobs_of
from flows.plan.source import load_plan, suggestion
from flows.state.kept_checkpoints import keep
from flows.state.locks import cache_in_use
from flows.state.progress_display import Display
from flows.validate.matrix import Cell
from flows.validate.plan import REFERENCE_ENVIRONMENT, check
from quant.errors import Told
from quant.types import Checkpoint


class UnknownCheckpoint(Told):
    """The plan makes no checkpoint of this name."""

    exit_code = 2


@cache_in_use()
def quantize_one(file: Path, label: str, data_root: str | None, display: Display) -> list[Checkpoint]:
    """The checkpoint of each of the plan's models that a method makes, by its label in tables (`gptq W4A16-g64`);
    those that are there are found. They are kept until they are released.

    Raises UnknownCheckpoint, PlanError, and what the quantizer fails with.
    """
    parsed = load_plan(file)
    sweep = check(parsed, data_root=data_root)
    cells = {(one.model.location, one.quantization.label): one for one in sweep.cells if one.unsupported is None}
    wanted = [one for (_, name), one in cells.items() if name == label]
    if not wanted:
        names = list(dict.fromkeys(name for _, name in cells))
        raise UnknownCheckpoint(f"{file}: no method of it is labelled '{label}'; {suggestion(label, names)}")
    needed = {REFERENCE_ENVIRONMENT, *(one.quantization.method.environment for one in wanted)}
    environments = [one for one in environments_of(sweep) if one.name in needed]
    for environment in environments:
        build(environment, display.say)

    def made(one: Cell) -> list[Checkpoint]:
        jobs = jobs_of(parsed, one.model, [one.quantization], environments, display)
        return [rows.quantize_job(job, parsed.plan, display) for job in jobs]

    found = [checkpoint for one in wanted for checkpoint in made(one)]
    for checkpoint in found:
        keep(checkpoint)
    return found
