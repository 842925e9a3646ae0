"""What may stand in the place of a file or folder: nothing, the other of both, pipes, devices, links, no rights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.hostile.case import Draw

OUTSIDE = "outside"  # a folder beside the input's that nothing may touch


def put_oddity(place: Path, draw: Draw, ways: Sequence[str] = ()) -> str:
    """Put something that is no usual file or folder at `place` (one of `ways`; any by default), and say what."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    way = draw.choice(ways or ODDITIES)
    if way == "folder":
        place.mkdir()
    elif way == "file":
        place.write_bytes(b"x\n")
    elif way == "empty file":
        place.touch()
    elif way == "pipe":
        os.mkfifo(place)
    elif way == "huge file":
        place.touch()
        os.truncate(place, 2**40)
    elif way == "link to itself":
        place.symlink_to(place.name)
    elif way == "dangling link":
        place.symlink_to("nowhere")
    elif way != "nothing":
        place.symlink_to(way)
    return f"{place.name} is {way}"


ODDITIES = (
    "nothing",
    "folder",
    "file",
    "empty file",
    "pipe",
    "huge file",
    "link to itself",
    "dangling link",
    "/dev/zero",
    "/dev/null",
    "/dev/tty",
    "/proc/self/mem",
    "/proc/self/fd/0",
    "/",
    f"../{OUTSIDE}/file",
    f"../{OUTSIDE}",
)


def odd_target(draw: Draw, folder: Path) -> str:
    """Where a command is told to write: an oddity in the input's folder that leads to nothing outside of it."""
    inside = ODDITIES[: ODDITIES.index("/dev/zero")]
    put_oddity(folder / "odd", draw, [way for way in inside if way != "pipe"])  # somebody may read from that
    return draw.choice(("odd", "odd/below", "x" * 300, "\udcff", "[bold]x", "text.txt/below"))


def odd_path(draw: Draw, folder: Path) -> str:
    """A path, as an argument of the command line: a name that is none, or an oddity in the input's folder."""
    names = (
        "x" * 300,
        "/" + "x/" * 3000,
        "\udcff\udcfe",
        "a\nb",
        "\x1b[31mred",
        "[bold]x[/]",
        "[/]",
        "",
        ".",
        "..",
        "/",
        "//",
        "-",
        "/dev/zero",
        "/dev/null",
        "/dev/full",
        "/dev/stdin",
        "/proc/self/mem",
        "/proc/self/environ",
        "/proc",
        "~/.ssh/id",
        "~/x",
        "nowhere/at/all",
        "text.txt/below",
        "\u202ex",
        "é" * 130,
        "*",
        "%00",
    )
    if draw.random() < 0.5:
        return draw.choice(names)
    put_oddity(folder / "odd", draw)
    return draw.choice(("odd", "odd", "odd/", "odd/below", "./odd/../odd"))
