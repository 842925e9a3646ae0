"""What a report does with its frontiers in tests: drawn in the tests' own process, or not at all.

Drawing is most of a report's time, in a process that starts anew for each; `tests/reports/output` tries that one too.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reports.output.drawn_frontiers import Draw, Drawing, Pictures

NOTHING = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)


@contextmanager
def drawn_here(folder: Path) -> Iterator[Draw]:
    """As `reports.output.drawn_frontiers.drawn_beside`, which its own tests try."""
    from reports.output.render_plots import draw, save

    def drawn(charts: Sequence[Drawing]) -> Callable[[], Pictures]:
        if charts:
            folder.mkdir(exist_ok=True)
        pictures = {chart.name: base64.b64encode(save(draw(chart), folder, chart.name)).decode() for chart in charts}
        return lambda: pictures

    yield drawn


@contextmanager
def left_blank(folder: Path) -> Iterator[Draw]:
    """The same files and pictures with nothing on them."""

    def blank(charts: Sequence[Drawing]) -> Callable[[], Pictures]:
        if charts:
            folder.mkdir(exist_ok=True)
        for chart in charts:
            (folder / f"{chart.name}.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
            (folder / f"{chart.name}.png").write_bytes(NOTHING)
        return lambda: {chart.name: base64.b64encode(NOTHING).decode() for chart in charts}

    yield blank
