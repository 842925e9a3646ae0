"""`bitfrontier init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.app import app
from flows.cli.sweep_command import console


@app.command(short_help="Copy the sample plans, to edit them.")
def init(folder: Annotated[Path, typer.Argument(help="Where to; the working directory by default.")] = Path()) -> None:
    """Copy the sample plans to FOLDER/configs, and Prefect's deployments of them to FOLDER. Overwrites nothing."""
    from flows.plan.samples import copy_samples

    for file in copy_samples(folder):
        console.print(str(file), markup=False, highlight=False, soft_wrap=True)
