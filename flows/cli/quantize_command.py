"""One checkpoint of a plan, made for serving: what a report's answer says to run."""

from __future__ import annotations

from pathlib import Path

from engines.runtime.environments import build
from flows.execute import rows
from flows.execute.prepare import environments_of, jobs_of
from flows.plan.changes import UNCHANGED, Changes
from flows.plan.outside import outside_lines
from flows.plan.source import load_plan, suggestion
from flows.state.kept_checkpoints import keep
from flows.state.locks import cache_in_use
from flows.state.progress_display import Display
from flows.validate.matrix import Cell
from flows.validate.plan import REFERENCE_ENVIRONMENT, check
from quant.errors import BitfrontierError
from quant.types import Checkpoint


class UnknownCheckpoint(BitfrontierError):
    """The plan makes no checkpoint of this name."""

    exit_code = 2


@cache_in_use()
def quantize_one(
    file: Path, label: str, data_root: str | None, display: Display, changes: Changes = UNCHANGED
) -> list[Checkpoint]:
    """The checkpoint of each of the plan's models that a method makes, by its label in tables (`gptq W4A16-g64`);
    those that are there are found. They are kept until they are released.

    Raises UnknownCheckpoint, PlanError, and what the quantizer fails with.
    """
    parsed = load_plan(file, changes)
    sweep = check(parsed, data_root=data_root)
    for line in outside_lines(sweep.plan):
        display.say(line)
    cells = {(cell.model.location, cell.quantization.label): cell for cell in sweep.cells if cell.unsupported is None}
    wanted = [cell for (_, name), cell in cells.items() if name == label]
    if not wanted:
        names = list(dict.fromkeys(name for _, name in cells))
        raise UnknownCheckpoint(f"{file}: no method of it is labelled '{label}'; {suggestion(label, names)}")
    needed = {REFERENCE_ENVIRONMENT, *(cell.quantization.method.environment for cell in wanted)}
    environments = [environment for environment in environments_of(sweep) if environment.name in needed]
    for environment in environments:
        build(environment, display.say)

    def made(cell: Cell) -> list[Checkpoint]:
        jobs = jobs_of(parsed, cell.model, [cell.quantization], environments, display)
        return [rows.quantize_job(job, parsed.plan, display) for job in jobs]

    checkpoints = [checkpoint for cell in wanted for checkpoint in made(cell)]
    for checkpoint in checkpoints:
        keep(checkpoint)
    return checkpoints
