"""Plans that come with bitfrontier: found by name, or copied to be edited."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path

from engines.runtime.cache import require_writable
from engines.runtime.own_packages import CONFIGS
from flows.plan.changes import Changes
from quant.canonical_json import write_whole
from quant.errors import BitfrontierError, program

PRESETS = ("anchors", "slo")  # files of configs/ that are no plans
SCHEMA_FILE = "plan.schema.json"
ELSEWHERE = "Name another folder by --to"


class FileInTheWay(BitfrontierError):
    """A file that `copy_samples` would write is there already."""

    exit_code = 2


def sample_plans() -> dict[str, Path]:
    """The plans that come with bitfrontier, by name."""
    return {file.stem: file for file in sorted(CONFIGS.glob("*.yaml")) if file.stem not in PRESETS}


def find_plan(given: Path) -> Path:
    """The plan's file: the sample plan of that name (`quickstart`), else `given`. A file of that name does not stand
    for it: the working directory may be somebody else's.
    """
    return sample_plans().get(str(given), given)


def plan_like(missing: Path) -> str:
    """The sample plan, or the plan beside a file that is missing, whose name is nearest; empty where none is near."""
    plans = [*sample_plans(), *(plan_argument(file) for file in sorted(missing.parent.glob("*.yaml")))]
    return next(iter(difflib.get_close_matches(str(missing), plans, n=1)), "")


def plan_argument(file: Path) -> str:
    """What stands for the file on a command line: its path, as a shell takes it and as no option, or the name of a
    sample plan.
    """
    return file.stem if file.parent == CONFIGS else shlex.quote(f"./{file}" if str(file).startswith("-") else str(file))


def sweep_command(file: Path, data_root: str | None, changes: Changes, bundle: str | None = None) -> str:
    """What goes on with a sweep, as it was begun."""
    given = {"--data-root": data_root, "--bundle": bundle}
    options = "".join(f" {option} {shlex.quote(value)}" for option, value in given.items() if value)
    return f"{program()} sweep {plan_argument(file)}{options}{changes.words}"


def copy_samples(folder: Path, *, replace: bool = False) -> list[Path]:
    """Copy the sample plans with their prompts and schema to FOLDER/configs, and Prefect's deployments of them to
    FOLDER.

    Raises FileInTheWay, unless what is there is to be replaced, and NotWritable: both before anything is written.
    """
    copied = [*sample_plans().values(), *sorted(CONFIGS.glob("*.jsonl")), CONFIGS / SCHEMA_FILE]
    copies = {folder / "configs" / source.name: source for source in copied}
    copies |= {folder / source.name: source for source in sorted((CONFIGS / "deployments").glob("*.yaml"))}
    if (existing := [target for target in copies if target.exists()]) and not replace:
        raise FileInTheWay(
            f"{existing[0]} exists: nothing was copied. Name another folder: `{program()} init --to FOLDER`."
        )
    require_writable(folder, ELSEWHERE)
    for target, source in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, source.read_bytes())
    return list(copies)


def copy_schema(folder: Path) -> None:
    """Lay the schema of plans beside a plan, whose first line names it to editors. What is there stays."""
    if not (folder / SCHEMA_FILE).exists():
        write_whole(folder / SCHEMA_FILE, (CONFIGS / SCHEMA_FILE).read_bytes())
