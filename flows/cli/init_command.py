"""`bitfrontier init`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.app import app
from flows.cli.sweep_command import console
from quant.errors import counted, program


@app.command(short_help="Write a first plan for a model, or copy the sample plans.")
def init(
    model: Annotated[
        str | None, typer.Argument(help="A model's folder, hub:ORGANISATION/NAME, or pypi:NAME.", show_default=False)
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="The plan's file (default: MODEL.yaml). Without MODEL: the folder for the copies."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write a first plan for MODEL on this machine, with comments: its engines, methods, loads, SLO and tasks.

    It lists the engines and methods that work with this model on this machine.

    Without MODEL, copy the sample plans to ./configs and Prefect's deployments next to it. Existing files are kept
    unless --force is given.
    """
    from flows.plan.samples import copy_samples

    if model is None:
        files = copy_samples(to or Path(), replace=force)
        console.print("\n".join(map(str, files)), markup=False, highlight=False, soft_wrap=True)
    else:
        _write_plan(model, to, force)


def _write_plan(text: str, to: Path | None, force: bool) -> None:
    """Raises NotWritable, NoFirstPlan, FileInTheWay and PlanError."""
    from engines.runtime.cache import require_writable
    from engines.telemetry.device import find_device
    from flows.cli.network_variables import check_network_variables
    from flows.cli.new_plan.choice import NoFirstPlan, first_plan, weight_bytes
    from flows.cli.new_plan.text import plan_name, plan_text
    from flows.plan.samples import ELSEWHERE, FileInTheWay, copy_schema, plan_argument
    from flows.sources.model_facts import look_up_model
    from flows.sources.samples import SourceError
    from flows.validate.plan import load_and_check
    from quant.canonical_json import write_whole

    check_network_variables()
    require_writable((to or Path()).parent, ELSEWHERE)
    try:
        model = look_up_model(text, Path.cwd())
    except SourceError as error:
        raise NoFirstPlan(f"{error.message} ({error.fix})") from error
    file = to or Path(f"{plan_name(model)}.yaml")
    if file.exists() and not force:
        raise FileInTheWay(f"{file} exists: nothing was written. Name another by --to, or overwrite it by --force.")
    try:
        device = find_device()
    except ValueError as error:
        raise NoFirstPlan(f"{error}. Name whole GPUs in CUDA_VISIBLE_DEVICES (`nvidia-smi -L`).") from error
    first = first_plan(model, device)
    here = text if model.kind != "folder" or Path(text).is_absolute() else os.path.relpath(text, file.parent)
    copy_schema(file.parent)
    write_whole(file, plan_text(first, here, plan_argument(file)))
    cells = len(load_and_check(file).cells)
    if first.lacks_memory:
        size = f"{weight_bytes(model) / 1e9:.3g} GB"
        memory = f"{device.memory_bytes * first.gpus / 1e9:.3g} GB"
        console.print(
            f"warning: the unquantized model needs {size} in 16 bits (this machine has {memory})", markup=False
        )
    lines = [
        f"{file}: {counted(cells, 'cell')}, {counted(len(first.methods), 'method')} in {', '.join(first.engines)} "
        f"on {device.name}",
        f"next: {program()} plan {plan_argument(file)}",
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
