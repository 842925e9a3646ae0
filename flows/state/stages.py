"""Where a run may be watched step by step: whoever runs a cell says what becomes of its stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Step(Protocol):
    """Calls `function`, a stage of a cell, and shows it under its name."""

    def __call__(self, name: str, function: Callable[[], T]) -> T: ...


def plainly(name: str, function: Callable[[], T]) -> T:
    """Nobody watches."""
    return function()
