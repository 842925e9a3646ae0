from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from evals.schema.trial import Failure
from flows.state.progress_display import BarDisplay, bars, cell_line
from tests.support.made_trials import failed, trial


def _console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_stage_that_was_replaced_may_still_report() -> None:
    console = _console(terminal=True)
    with bars(console) as display:
        first = display.stage("quantize", 1)
        second = display.stage("load", 2)
        first(1)
        second(1)
        overall = display.overall("measure", 3)
        second(1)
        overall(1)
        display.say("a line [with brackets]")
    assert "a line [with brackets]" in _text(console)


def _console_of(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_view_has_stages_current_cell_and_eta_and_fits_the_terminal(width: int) -> None:
    console = _console_of(width)
    with bars(console) as display:
        display.overall("quantize", 2)(2)
        display.overall("measure", 3, lambda: 3700.0)
        display.doing("smoothquant W8A8-int8 · [vllm] in float16")
        display.stage("speed", 32)(5)
        assert isinstance(display, BarDisplay)
        view = Console(file=io.StringIO(), width=width, color_system=None)
        view.print(display.live.get_renderable())
    lines = _text(view).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("✓ quantize · measure")
    assert lines[1].startswith("▸ smoothquant W8A8-int8 · [vllm] in float16")
    shown = "\n".join(lines[2:])
    assert "0/3" in shown
    assert "ETA 1:01:40" in shown
    assert "5/32" in shown


def test_an_eta_that_is_not_known_is_not_shown() -> None:
    console = _console_of(100)
    with bars(console) as display:
        display.overall("measure", 3, lambda: None)
        assert isinstance(display, BarDisplay)
        view = Console(file=io.StringIO(), width=100, color_system=None)
        view.print(display.live.get_renderable())
    assert "ETA" not in _text(view)


def test_whom_it_waits_for_is_shown_in_place_of_an_eta() -> None:
    console, text = (
        _console_of(60),
        "waiting for PID 12 of user me since 11:02, which holds /tmp/bitfrontier-0/cpu.lock",
    )
    with bars(console) as display:
        display.overall("measure", 3, lambda: 16.0)
        for waiting, eta in ((text, False), ("", True)):
            display.waiting(waiting)
            assert isinstance(display, BarDisplay)
            view = Console(file=io.StringIO(), width=60, color_system=None)
            view.print(display.live.get_renderable())
            assert ("ETA" in _text(view)) == eta
            assert (text in " ".join(_text(view).split())) == bool(waiting)


def test_what_is_being_done_ends_with_its_stage() -> None:
    with bars(_console_of(100)) as display:
        assert isinstance(display, BarDisplay)
        display.doing("a cell")
        assert display.live.doing == "a cell"
        display.overall("report", 1)
        assert display.live.doing == ""


def test_without_a_terminal_there_are_lines_only() -> None:
    console = _console(terminal=False)
    with bars(console) as display:
        display.overall("measure", 3)(1)
        display.doing("none · e")
        display.waiting("waiting for PID 12")
        display.waiting("")
        display.stage("speed", 3)(1)
        display.say("done")
    assert _text(console) == "measure (3)\nwaiting for PID 12\ndone\n"


def test_one_line_per_cell() -> None:
    assert cell_line(trial("none", 10, 1, 80), 1, 3).startswith("✓ [1/3] none · e")
    assert cell_line(trial("none", 10, 1, 80), 1, 3, "10 ±1 tok/s  meets").endswith("  10 ±1 tok/s  meets")
    line = cell_line(failed("awq", "it broke\nsecond line"), 2, 3)
    assert line.startswith("✗ [2/3] awq · e")
    assert line.endswith("it broke")
    failure = Failure("timeout", "the server was not ready after 600 s: loading shard 3", "raise the limit")
    lines = cell_line(replace(failed("awq", failure.cause), failure=failure), 2, 3).splitlines()
    assert lines[0].endswith("timeout: the server was not ready after 600 s: loading shard 3")
    assert lines[1:] == ["    raise the limit"]
    assert cell_line(failed("awq", "no kernel", "unsupported"), 3, 3).startswith("– [3/3]")
