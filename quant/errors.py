"""Errors that are for people: their words say what is wrong and what to do, and no traceback is needed."""

from __future__ import annotations


class BitfrontierError(Exception):
    """The root of all errors for people. The command line shows it as it is and ends with `exit_code` (1 failed, 2 bad
    input).
    """

    exit_code = 1

    @property
    def shown(self) -> str:
        return f"error: {self}"
