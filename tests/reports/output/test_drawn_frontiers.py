"""What figures show as data, and what is told where the process that draws them fails."""

from __future__ import annotations

import base64
import math
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from evals.stats.intervals import Estimate
from reports.decision.results import conclude
from reports.output.drawn_frontiers import Dot, Drawing, drawings, drawn_beside
from reports.output.render_plots import draw
from tests.support.made_trials import ABOUT, trial

DOT = Dot("rtn", "e", "free", True, Estimate(1.0, -math.inf, math.inf, 1), Estimate(2.0, 1.5, math.nan, 3))
DRAWING = Drawing("one", "One", "x", "y", ("e",), (DOT,))


def test_a_cell_that_may_win_nothing_is_failing_and_a_dominated_one_faded() -> None:
    trials = [trial("none", 10, 2.0, 80), trial("rtn", 20, 1.0, 80), trial("bad", 90, 0.5, 20, 4.0)]
    results = conclude(ABOUT, trials)
    by_name = {drawing.name: drawing for drawing in drawings(results.cells, results.frontiers)}
    assert {dot.method: dot.state for dot in by_name["memory-throughput"].dots} == {
        "none": "faded",
        "rtn": "free",
        "bad": "failing",
    }
    assert [dot.method for dot in by_name["memory-throughput"].dots if dot.on] == ["rtn"]
    assert by_name["accuracy-throughput"].engines == ("e",)


def test_ends_without_bound_are_drawn_too(tmp_path: Path) -> None:
    with drawn_beside(tmp_path / "figures") as draw_there:
        images = draw_there([DRAWING])()
    assert base64.b64decode(images["one"])[:4] == b"\x89PNG"
    assert sorted(file.name for file in (tmp_path / "figures").iterdir()) == ["one.png", "one.svg"]


def test_matplotlib_s_settings_of_the_working_directory_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run from somebody else may hold some, and is a folder to work in."""
    (tmp_path / "matplotlibrc").write_text("svg.fonttype: none\nfont.family: no such font\naxes.facecolor: red\n")
    monkeypatch.chdir(tmp_path)
    for name in ("figures", "elsewhere"):
        with drawn_beside(Path(name)) as draw_there:
            draw_there([DRAWING])()
        (tmp_path / "matplotlibrc").unlink(missing_ok=True)
    first, second = ((tmp_path / name / "one.svg").read_text() for name in ("figures", "elsewhere"))
    assert first == second


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    with drawn_beside(tmp_path / "figures") as draw_there:
        assert draw_there([])() == {}
    assert not (tmp_path / "figures").exists()


def test_what_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    strange = replace(DRAWING, engines=())
    with (
        pytest.raises(RuntimeError, match=r"the figures could not be drawn:\n(?s:.*)ValueError"),
        drawn_beside(tmp_path) as draw_there,
    ):
        draw_there([strange])()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a  short\nname", "a short name"),
        ("n" * 36, "n" * 36),
        ("n" * 37, "n" * 35 + "…"),
        ("a " * 30, "a " * 17 + "a…"),
    ],
)
def test_a_long_name_keeps_its_beginning(name: str, shown: str) -> None:
    figure = draw(replace(DRAWING, engines=("e", name)))
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == shown
    plt.close(figure)


def test_names_hide_no_other_and_those_of_the_frontier_come_first() -> None:
    """Of twenty cells at almost one place, and one far from them."""
    near = [
        replace(DOT, method=f"m{number}", on=number == 7, x=Estimate(1 + number / 500, 0, 2, 3), y=Estimate(2, 1, 3, 3))
        for number in range(20)
    ]
    far = replace(DOT, method="far", on=False, x=Estimate(9, 8, 10, 3), y=Estimate(9, 8, 10, 3))
    figure = draw(replace(DRAWING, dots=(*near, far)))
    (axes,) = figure.axes
    names = {text.get_text(): text.get_window_extent() for text in axes.texts}
    plt.close(figure)
    assert {"m7", "far"} <= names.keys()
    assert len(names) < 10
    assert not any(box.overlaps(other) for name, box in names.items() for else_, other in names.items() if name < else_)


def test_it_ends_with_the_block(tmp_path: Path) -> None:
    def interrupted() -> None:
        with drawn_beside(tmp_path) as draw_there:
            draw_there([DRAWING])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())
