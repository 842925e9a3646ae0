"""What a person is told of a visit that is made again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flows.execute import visits
from flows.execute.visits import Attempt, Visit
from flows.state.progress_display import LogDisplay


@pytest.mark.parametrize(
    ("disturbed", "words"),
    [(0, []), (1, ["visit repeated"]), (3, ["visit repeated", "visit repeated", "disturbed in all 3 visits"])],
)
def test_why_a_visit_is_made_again_is_lines(monkeypatch: pytest.MonkeyPatch, disturbed: int, words: list[str]) -> None:
    attempts = iter([Attempt([], ["hashing was 29 % slower"], 0.0)] * disturbed + [Attempt([], [], 0.0)])
    monkeypatch.setattr(visits, "_attempt", lambda _: next(attempts))
    lines: list[str] = []
    row: Any = SimpleNamespace(cell=SimpleNamespace(name="none · e"))
    planned: Any = SimpleNamespace(row=row, visit=Visit(2, 1, control=True), display=LogDisplay(lines.append))
    assert visits._made(planned) == []
    assert lines == [f"  round 2, none · e, control: {word}: hashing was 29 % slower" for word in words]
