from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from evals.schema.trial import Failure
from flows.state.progress_display import bars, cell_line
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


def test_without_a_terminal_there_are_lines_only() -> None:
    console = _console(terminal=False)
    with bars(console) as display:
        display.overall("measure", 3)(1)
        display.stage("speed", 3)(1)
        display.say("done")
    assert _text(console) == "measure (3)\ndone\n"


def test_one_line_per_cell() -> None:
    assert cell_line(trial("none", 10, 1, 80), 1, 3).startswith("✓ [1/3] none · e")
    line = cell_line(failed("awq", "it broke\nsecond line"), 2, 3)
    assert line.startswith("✗ [2/3] awq · e")
    assert line.endswith("it broke")
    failure = Failure("timeout", "the server was not ready after 600 s: loading shard 3", "raise the limit")
    lines = cell_line(replace(failed("awq", failure.cause), failure=failure), 2, 3).splitlines()
    assert lines[0].endswith("timeout: the server was not ready after 600 s: loading shard 3")
    assert lines[1:] == ["    raise the limit"]
    assert cell_line(failed("awq", "no kernel", "unsupported"), 3, 3).startswith("– [3/3]")
