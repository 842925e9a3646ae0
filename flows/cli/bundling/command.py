"""The command: validate the plan, collect, cut into parts, say what to do with them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.app import Exclude, Only, PlanArgument, Sets, app, changes_from
from flows.cli.sweep_command import console, errors, show_outside


@app.command(short_help="Collect all that a plan needs, for a machine without a network.")
def bundle(
    file: PlanArgument,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder for the bundle.", show_default=False)],
    platform: Annotated[
        str | None, typer.Option(help="The machine's wheels, such as manylinux_2_28_x86_64; else those of this one.")
    ] = None,
    python: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Its Python, such as 3.12; else this program's.")
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            metavar="CAPABILITY", help="Its GPU, such as 9.0, where this machine has none: for CUDA's wheels."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Write it in parts of this size, too, such as 2GB.")
    ] = None,
    program: Annotated[bool, typer.Option(help="With bitfrontier itself and the packages that it needs.")] = True,
    sets: Sets = None,
    only: Only = None,
    exclude: Exclude = None,
) -> None:
    """Collect all that a plan needs into FOLDER: wheels of its environments and of bitfrontier, models, data, texts.

    An interrupted one continues where it stopped. `bitfrontier sweep PLAN --bundle FOLDER` then needs no network. It is
    for machines like this one; --platform, --python and --gpu name others.
    """
    from flows.bundle.collect import collect
    from flows.bundle.parts import how_to_join, size_of
    from flows.bundle.parts import split as cut
    from flows.bundle.targets import target_of
    from flows.cli.network_variables import check_network_variables
    from flows.plan.samples import sample_plans, sweep_command
    from flows.state.locks import cache_in_use
    from flows.state.progress_display import bars
    from flows.validate.plan import load_and_check
    from quant.canonical_json import with_home

    check_network_variables()
    target, part_bytes = target_of(platform, python, gpu), size_of(split) if split else 0
    changes = changes_from(sets, only, exclude, None)
    sweep = load_and_check(file, changes, device=target.device)
    show_outside(sweep.plan, console)
    folder = with_home(str(out)).resolve()  # `.` has a name, too
    with bars(errors) as display, cache_in_use():
        contents = collect(sweep, folder, target, display, program=program)
        parts = cut(folder, contents, part_bytes, display) if part_bytes else None
    total = sum(file.bytes for file in contents.files)
    lines = [f"{out}: {len(contents.files)} files, {total / 1e9:.2f} GB, for {contents.machine}"]
    if parts is not None:
        join = " && ".join(how_to_join(folder))
        lines += [f"in parts: {parts} ({len(list(parts.iterdir())) - 1} files); join them there: {join}"]
    if program:
        install = f"pip install --no-index --find-links {shlex.quote(f'{folder.name}/wheels')}"
        lines += [f"install there: {install} -r {shlex.quote(f'{folder.name}/bitfrontier.txt')}"]
    plan = file if str(file) in sample_plans() else Path(folder.name, contents.base, file.name)
    lines += [f"next, there: {sweep_command(plan, None, changes, folder.name)}"]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
