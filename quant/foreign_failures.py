"""What failures of foreign tools and engines say: their exceptions, messages and logs.

The one place where the kind of a failure is read from text, and that text is never ours: what bitfrontier itself knows
it raises as a `CellFailure` of that kind. Standard library only.
"""

from __future__ import annotations

import errno
import itertools
import re
import traceback
from importlib.metadata import packages_distributions, version

from quant.errors import CellFailure, FailureKind

FULL = (errno.ENOSPC, errno.EDQUOT)
# the first that matches counts: what broke comes before how it showed
PATTERNS: tuple[tuple[FailureKind, re.Pattern[str]], ...] = (
    # libc, SQLite
    ("full-disk", re.compile(r"No space left on device|Disk quota exceeded|database or disk is full")),
    # Python, torch, C++, llama.cpp, vLLM
    (
        "out-of-memory",
        re.compile(
            r"\bMemoryError\b|out of memory|OutOfMemoryError|bad_alloc|"
            r"(can't|cannot|unable to|failed to) allocate|larger than the available KV cache memory"
        ),
    ),
    ("broken-environment", re.compile(r"^(ModuleNotFoundError|ImportError): ")),
    # libc, llama-server
    ("port-taken", re.compile(r"address already in use|couldn't bind", re.IGNORECASE)),
    ("unreadable-checkpoint", re.compile(r"SafetensorError")),
)
TRACEBACK = "Traceback (most recent call last):"
# vLLM's front, of an engine process that told why it died, and that process, of one of its own
ELSEWHERE = re.compile(r"[Rr]oot cause above|See stack trace for root cause")
MOST_LINES = 5  # of a message


def kind_in(text: str) -> FailureKind | None:
    """What lines of a tool or an engine tell of the kind of its failure; None where nothing is known of them."""
    lines = text.splitlines()
    return next((kind for kind, words in PATTERNS for line in lines if words.search(line)), None)


def kind_of(error: BaseException) -> FailureKind | None:
    """What an exception tells of the kind of a failure, by its type first, then by what raised it, then by its words;
    None where nothing is known of it.
    """
    if isinstance(error, CellFailure):
        return error.kind
    if isinstance(error, OSError) and error.errno in FULL:
        return "full-disk"
    if isinstance(error, MemoryError):
        return "out-of-memory"
    if isinstance(error, ImportError):
        return "broken-environment"
    known = kind_of(error.__cause__) if error.__cause__ is not None else None
    return known or kind_in(f"{type(error).__name__}: {error}")


def decisive_line(log: str) -> str:
    """The line of a log that says why its process ended: the exception of the last traceback that does not point to
    another one, with the indented lines of its message, else the last line that is not empty; "" where there is none.
    """
    lines = log.splitlines()
    for start in (number for number in reversed(range(len(lines))) if TRACEBACK in lines[number]):
        before = lines[start].partition(TRACEBACK)[0]  # loggers put their own words before each line
        rest = (line.removeprefix(before) for line in lines[start + 1 :])
        exception = next((line.strip() for line in rest if line.strip() and not line[0].isspace()), "")
        if exception and not ELSEWHERE.search(exception):
            message = itertools.takewhile(lambda line: line[:1].isspace() and line.strip(), rest)
            return " ".join([exception, *map(str.strip, itertools.islice(message, MOST_LINES))])
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def raised_by(error: BaseException) -> str:
    """The package, with its version, and the line that raised an error, such as `torch 2.13.0, torch/nn/module.py:12`:
    tools raise `KeyError: 'n_ctx'`. Empty where no installed package did.
    """
    frames = traceback.extract_tb(error.__traceback__)
    _, separator, inside = frames[-1].filename.rpartition("/site-packages/") if frames else ("", "", "")
    if not separator:
        return ""
    names = packages_distributions().get(inside.split("/")[0].removesuffix(".py"), [])
    return ", ".join([*(f"{name} {version(name)}" for name in names[:1]), f"{inside}:{frames[-1].lineno}"])
