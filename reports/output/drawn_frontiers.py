"""What figures show, as plain data, and the process that draws them while the rest of the report is computed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.runtime.child_environment import child_environment
from engines.runtime.entry_points import RENDER_PLOTS
from engines.runtime.own_packages import import_folder
from evals.stats.intervals import Estimate
from quant.errors import without_controls
from reports.decision.frontier.frontiers import Frontier
from reports.metrics.cell import CellMetrics

State = Literal["free", "faded", "failing"]
Pictures = dict[str, str]  # by a plot's name, a small PNG in base64
Draw = Callable[[Sequence["Drawing"]], Callable[[], Pictures]]


@dataclass(frozen=True)
class Dot:
    """One cell on one plot. `faded`: dominated, by its printed probability; `failing`: it fails a limit or is not
    trusted.
    """

    method: str
    engine: str
    state: State
    on: bool
    x: Estimate
    y: Estimate


@dataclass(frozen=True)
class Drawing:
    """One plot. `engines` are all of the run, so that each has the same mark on every plot."""

    name: str
    title: str
    x_label: str
    y_label: str
    engines: tuple[str, ...]
    dots: tuple[Dot, ...]


def drawings(cells: Sequence[CellMetrics], frontiers: Sequence[Frontier]) -> list[Drawing]:
    """All cells that have both values of a plot; those without a standing on its frontier may win nothing."""
    engines = tuple(sorted({without_controls(cell.trial.engine) for cell in cells}))
    return [
        Drawing(
            frontier.plot.name,
            frontier.plot.title,
            frontier.plot.x.full_label,
            frontier.plot.y.full_label,
            engines,
            _dots(cells, frontier),
        )
        for frontier in frontiers
    ]


def _dots(cells: Sequence[CellMetrics], frontier: Frontier) -> tuple[Dot, ...]:
    standings = {(standing.model, standing.name): standing for standing in frontier.standings}
    dots = []
    models = {standing.model for standing in frontier.standings}
    for cell in cells:
        if cell.trial.model not in models:
            continue
        x, y = frontier.plot.x.read(cell), frontier.plot.y.read(cell)
        if x is not None and y is not None:
            standing = standings.get((cell.trial.model, cell.trial.name))
            state: State = "failing" if standing is None else "faded" if standing.dominated else "free"
            on = standing is not None and standing.on
            label, engine = map(without_controls, (cell.trial.method_label, cell.trial.engine))  # SVG is XML
            dots.append(Dot(label, engine, state, on, x, y))
    return tuple(dots)


@contextmanager
def drawn_beside(folder: Path) -> Iterator[Draw]:
    """Start a process that draws, which ends with the block at the latest: it is ready once there is something to draw.

    What is yielded has it draw NAME.svg and NAME.png of charts into the folder, once; what that returns waits for the
    pictures. Raises RuntimeError with the process's last words where it fails.
    """
    command = [sys.executable, "-P", "-m", RENDER_PLOTS, str(folder.resolve())]
    with (
        tempfile.NamedTemporaryFile("w+", encoding="utf-8") as data,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment({"PYTHONPATH": str(import_folder())}),
            cwd="/",  # matplotlib reads its settings of the working directory, which may be a run from somebody else
        ) as process,
    ):

        def draw(charts: Sequence[Drawing]) -> Callable[[], Pictures]:
            if not charts:
                return dict
            folder.mkdir(exist_ok=True)
            json.dump(charts, data, default=vars)
            data.flush()
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it ended: its last words say why
                process.stdin.write(f"{data.name}\n".encode())
                process.stdin.flush()
            return lambda: _pictures(process)

        try:
            yield draw
        finally:
            process.kill()


def _pictures(process: subprocess.Popen[bytes]) -> Pictures:
    out, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the figures could not be drawn:\n{errors.decode(errors='replace')[-2000:]}")
    pictures: Pictures = json.loads(out)
    return pictures
