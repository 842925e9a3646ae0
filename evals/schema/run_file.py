"""Reading `sweep.json`: what a run says of itself."""

from __future__ import annotations

import json
import math
import re
import stat
from pathlib import Path
from typing import Annotated, Any, Required

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from evals.schema.migrate import NewerSchema, migrate_run
from quant.canonical_json import read_regular
from quant.errors import BitfrontierError, reading

RUN_FILE = "sweep.json"
FILE_NAME = re.compile(r"[^/\\\x00-\x1f\ud800-\udfff]{1,250}\.json")  # in the folder of trials itself


class NoRun(BitfrontierError):
    """A folder that holds no run, or a damaged one."""

    exit_code = 2


class LinkInRun(BitfrontierError):
    """A run's folder holds a symbolic link, through which its files would be written elsewhere, or a pipe or device, at
    which whoever opens it may wait for ever.
    """

    exit_code = 2


def check_no_links(folder: Path) -> None:
    """Raises LinkInRun where an entry of a run's folder, or of a folder in it, is neither a file nor a folder.

    A run may come from somebody else, who would choose which file of ours the report or a log is written into.
    """
    for pattern in ("*", "*/*"):  # whoever writes does so here; `pathlib` lists a folder that is a link, the first goes
        for entry in folder.glob(pattern):
            try:
                mode = entry.lstat().st_mode
            except FileNotFoundError:  # a sweep that runs has given a file its name meanwhile
                continue
            if not (stat.S_ISLNK(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise LinkInRun(f"{entry} is a pipe, a socket or a device: a reader may wait for ever. Delete it")
            if stat.S_ISLNK(mode):
                raise LinkInRun(
                    f"{entry} is a symbolic link: what a run writes would be written outside of its folder. Delete it, "
                    "or put what it points to in its place"
                )


MOST_CHANGES, MOST_LETTERS = 1000, 10_000  # of what a command line changed of a plan, and of each of it
STRICT = with_config(ConfigDict(strict=True, allow_inf_nan=False))


def _no_nan(limit: float) -> float:
    """`.inf` was a limit in older plans. Raises ValueError."""
    if math.isnan(limit):
        raise ValueError("it is not a number")
    return limit


Limit = Annotated[float, Field(allow_inf_nan=True), AfterValidator(_no_nan)]


@STRICT
class _Cell(TypedDict, total=False):
    trial: Required[str]
    name: Required[str]
    model: Required[str]
    checkpoint: Required[str | None]


@STRICT
class _Memory(TypedDict, total=False):
    budgets_bytes: list[float]
    context_tokens: list[int]


@STRICT
class _Forecast(TypedDict, total=False):
    seconds: float
    factor: float
    cells: dict[str, dict[str, float | None] | None]


@STRICT
class _Run(TypedDict, total=False):
    """What readers of a run rely on; a program may note more."""

    name: str
    trials: Required[list[str]]
    models: list[str]
    notes: list[str]
    warnings: list[str]
    device: str
    threads: int
    repeats: int
    limits: dict[str, Limit | None]
    accuracy: dict[str, Any]
    slo: dict[str, float | None] | None
    price: dict[str, Any] | None
    memory: _Memory | None
    memory_source: str
    command: str
    file: str
    data_root: str | None
    bundle: str | None
    plan: str
    changes: dict[str, Annotated[list[Annotated[str, Field(max_length=MOST_LETTERS)]], Field(max_length=MOST_CHANGES)]]
    versions: dict[str, str]
    stale: dict[str, list[str]]
    cells: list[_Cell]
    needs: list[str]
    bytes_per_token: dict[str, float]
    forecast: _Forecast | None


_RUN = TypeAdapter(_Run)
AGAIN = "Sweep its plan again"


def read_run(folder: Path) -> dict[str, Any]:
    """A run's `sweep.json`, of this or an older program. Raises NoRun, or NewerSchema, naming the file."""
    file = folder / RUN_FILE
    try:
        with reading(file, NoRun, AGAIN, "it is damaged"):
            try:
                raw = json.loads(read_regular(file))
            except (FileNotFoundError, NotADirectoryError) as error:
                state = (
                    f"has no {RUN_FILE}" if folder.is_dir() else "is a file" if folder.exists() else "does not exist"
                )
                raise NoRun(f"{folder} {state}; give a run's folder, such as runs/quickstart") from error
            if not isinstance(raw, dict) or not isinstance(raw.get("trials"), list):
                fault = "it names no trials, so it is not a run's. Give a run's folder, such as runs/quickstart"
                raise NoRun(f"{file}: {fault}")
            about = migrate_run(raw)
            try:
                _RUN.validate_python(about)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"]))
                raise NoRun(
                    f"{file}: it is damaged: `{place}` is {first['input']!r:.60}: {first['msg']}. {AGAIN}"
                ) from error
            if strange := [name for name in about["trials"] if not FILE_NAME.fullmatch(name)]:
                raise NoRun(f"{file}: {strange[0]!r:.60} is not the name of a trial file. {AGAIN}")
            return about
    except NewerSchema as error:
        raise NewerSchema(f"{file}: {error}") from None
