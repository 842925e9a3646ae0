"""Errors that are for people: their words say what is wrong and what to do, and no traceback is needed."""

from __future__ import annotations


class Told(Exception):
    """Shown as it is by the command line, which then ends with `exit_code` (1 failed, 2 bad input)."""

    exit_code = 1

    @property
    def shown(self) -> str:
        return f"error: {self}"
