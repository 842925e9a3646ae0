"""One input of the command line, and what every family of inputs draws from."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Draw = random.Random


@dataclass(frozen=True)
class Case:
    """`arguments` are those of `bitfrontier`; `writes` are the paths (relative to the input's folder) that the command
    may write to besides the cache; `variables` are set for it.
    """

    arguments: tuple[str, ...]
    about: str
    writes: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


Kind = Callable[[Draw, Path], Case]

TEXTS = (
    "",
    " ",
    "\n",
    "\t",
    "\x00",
    "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07",
    "\x9b31m",
    "[bold]x[/]",
    "[/]",
    "[link=file:///etc/passwd]x[/link]",
    "[red",
    "\\[x]",
    "</script><script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "%s%n%d",
    "{0.__class__}",
    "..",
    "../../outside",
    "/etc/passwd",
    "-1",
    "--help",
    "~",
    "$HOME",
    "\u202edrawkcab",
    "\ufeffx",
    "\ud800",
    "é" * 200,
    "x" * 300,
    "x" * 100_000,
    "nan",
    "1e999",
    "None",
    "true",
    "\U0001f600",
    "a/b",
    "a\\b",
    "C:\\x",
    "hub:",
    "hub:a",
    "hub:a/b@",
    "hub:../x",
    "hub:a/b/c",
    "pypi:",
    "pypi:x",
    "pypi:../x",
    "file:///dev/zero",
)
NUMBERS = (
    0,
    -1,
    1,
    2,
    -5,
    99999999,
    2**31,
    2**63,
    2**64,
    10**20,
    10**400,
    -(10**400),
    0.5,
    -0.0,
    1e-320,
    1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
)


def any_value(draw: Draw, depth: int = 2) -> Any:
    """A value of any of JSON's types."""
    kind = draw.randrange(8 if depth else 6)
    if kind < 2:
        return draw.choice(TEXTS)
    if kind < 4:
        return draw.choice(NUMBERS)
    if kind < 6:
        return draw.choice((None, True, False, [], {}))
    if kind == 6:
        return [any_value(draw, depth - 1) for _ in range(draw.choice((1, 1, 2, 3, 50)))]
    return {draw.choice(TEXTS[:30]): any_value(draw, depth - 1) for _ in range(draw.choice((1, 2, 5)))}


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, item in items for place in places(item, (*path, name)))]


def change(document: Any, draw: Draw) -> tuple[Any, str]:
    """A document with one of its values replaced, dropped, repeated or renamed, and what was done."""
    path = draw.choice(places(document))
    if not path:
        return (new := any_value(draw)), f"the whole is {new!r:.60}"
    parent: Any = document
    for part in path[:-1]:
        parent = parent[part]
    name, way = path[-1], draw.randrange(8)
    where = "/".join(map(str, path))
    if way == 0:
        del parent[name]
        return document, f"{where} dropped"
    if way == 1 and isinstance(parent, dict):
        parent[str(any_value(draw, 0))] = parent.pop(name)
        return document, f"{where} renamed"
    if way == 1 and isinstance(parent, list):
        parent.extend([parent[name]] * draw.choice((1, 30)))  # type: ignore[index]
        return document, f"{where} repeated"
    parent[name] = any_value(draw)
    return document, f"{where} = {parent[name]!r:.60}"


def damage(content: bytes, draw: Draw) -> tuple[bytes, str]:
    """Bytes cut short, emptied, flipped, repeated, or in another encoding, and what was done."""
    way = draw.randrange(7)
    if way == 0:
        return b"", "emptied"
    if way == 1:
        at = draw.randrange(len(content) + 1)
        return content[:at], f"cut at {at}"
    if way == 2:
        changed = bytearray(content)
        for _ in range(draw.choice((1, 5, 50))):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        return bytes(changed), "bytes flipped"
    if way == 3:
        return content.decode(errors="replace").encode(code := draw.choice(("utf-16", "utf-32", "utf-7"))), code
    if way == 4:
        return draw.randbytes(draw.choice((1, 100, 5000))), "noise"
    if way == 5:
        return b"\x00" * draw.choice((1, 4096)), "zeros"
    at = draw.randrange(len(content) + 1)
    return content[:at] + draw.choice((b"\x00", b"\xff\xfe", b"\x1b[2J", b'"', b"}", b"[" * 100_000)) + content[at:], (
        f"inserted at {at}"
    )
