"""Frontiers drawn in the tests' own process: a hundred pages need not import matplotlib a hundred times."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reports.output.drawn_frontiers import Drawing, Pictures


@contextmanager
def drawn_here(charts: Sequence[Drawing], folder: Path) -> Iterator[Callable[[], Pictures]]:
    """As `reports.output.drawn_frontiers.drawn_beside`, which its own tests try."""
    from reports.output.render_plots import draw, save

    if charts:
        folder.mkdir(exist_ok=True)
    pictures = {chart.name: base64.b64encode(save(draw(chart), folder, chart.name)).decode() for chart in charts}
    yield lambda: pictures
