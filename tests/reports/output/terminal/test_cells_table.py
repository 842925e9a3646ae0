from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from reports.decision.results import Results, conclude
from reports.output.formatting import plus_minus
from reports.output.terminal.cells_table import FIGURES, short_table
from tests.support.made_trials import ABOUT, failed, trial


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((137.0, 123.0, 152.0), "137 ±15"),
        ((46.3, 41.6, 51.4), "46 ±5"),
        ((20.9, 18.5, 23.7), "20.9 ±2.8"),
        ((1.0045, 0.975, 1.035), "1.004 ±0.030"),
        ((1.46, 1.41, 1.51), "1.46 ±0.05"),
        ((83.0, 34.0, 203.0), "83 −49/+120"),
        ((2.0, 1.9, 2.6), "2.0 −0.1/+0.6"),
        ((258.0, 3.5, 19222.0), "258 −254/+18964"),
        ((5.0, 4.0, math.inf), "5 −1/+∞"),
        ((25.3, 0.0, math.inf), "25.3 ±∞"),
        ((5.0, 5.0, 7.0), "5 −0/+2"),
        ((1.0, 1.0, 1.0), "1.00"),
        ((1.0, 1 - 1e-9, 1 + 1e-9), "1.000 ±0.001"),
    ],
)
def test_an_interval_is_as_wide_as_it_is_and_no_narrower(ends: tuple[float, float, float], text: str) -> None:
    """The larger half; both where one number would hide that they differ."""
    assert plus_minus(Estimate(*ends, 9)) == text


def test_what_was_not_measured_is_a_dash() -> None:
    assert plus_minus(None) == "–"
    assert plus_minus(Estimate(0.4, 0.33, 0.46, 9), 100) == "40 ±7"


def _results(*trials: Trial) -> Results:
    return conclude(ABOUT, trials)


def _lines(results: Results, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(short_table(results, width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


LONG = "smoothquant W8A8-int8-with-a-long-label"
CELLS = (
    trial("none", 10, 2.0, 80),
    trial(LONG, 20, 1.0, 78, 2.05),
    failed("awq", "it broke"),
    failed("gptq", "no kernel", "unsupported"),
)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_cut(width: int) -> None:
    lines = _lines(_results(*CELLS), width)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    quantized = next(line for line in lines if "smoothquant" in line)
    assert "20.0 ±" in quantized or "20 ±" in quantized
    assert "1.051 ±" in quantized or "1.05" in quantized


def test_columns_that_have_no_room_are_named() -> None:
    assert "no room" not in "".join(_lines(_results(*CELLS), 100))
    narrow = " ".join("".join(_lines(_results(*CELLS), 60)).split())
    assert "no room for TTFT ms, TPOT ms" in narrow
    assert len(FIGURES) == 6


def test_cells_without_figures_are_rows_too() -> None:
    lines = _lines(_results(*CELLS), 100)
    assert any(line.split() == ["awq", "·", "e", "failed"] for line in lines)
    assert any(line.split() == ["gptq", "·", "e", "unsupported"] for line in lines)
    assert _lines(_results(failed("awq", "it broke")), 100)


def test_words_of_others_are_no_markup() -> None:
    lines = _lines(_results(replace(CELLS[0], method_label="[red]none[/red]")), 100)
    assert any("[red]none[/red]" in line for line in lines)
