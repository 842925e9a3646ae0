"""Pictures of reports for the docs, from raw results of real runs: `python -m scripts.docs_site.pictures`.

It needs Chromium (`apt-get install chromium-headless-shell`). Look at each picture before it is committed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from engines.runtime.own_packages import ROOT
from quant.canonical_json import write_whole
from reports.decision.results import read_results
from reports.output.html_report import write_report
from reports.output.terminal.summary import print_results

QUICKSTART, FOUR_ENGINES = Path("runs/quickstart"), Path("runs/frontier-cpu")
PACKED = {
    QUICKSTART: ROOT / "evidence" / "quickstart-2026-11-28.tar.xz",
    FOUR_ENGINES: ROOT / "evidence" / "frontier-cpu-2026-11-22.tar.xz",
}
PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")
PICTURES = ROOT / "docs" / "assets" / "report"
SCREEN, PHONE, PAPER = (
    {"width": 1280, "height": 800},
    {"width": 390, "height": 844},
    {"width": 718, "height": 1047},  # A4 at 96 dots an inch, without its margins of a centimetre
)
MOST_BYTES = 200_000
COLOURS = 256
COLUMNS = 100
FONTS = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)  # which would be fetched


def top(_: Page) -> None:
    """The page as it opens."""


def to_curves(page: Page) -> None:
    page.evaluate("document.getElementById('loads').scrollIntoView()")


def on_paper(page: Page) -> None:
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")


@dataclass(frozen=True)
class Shot:
    """One picture: of which run, on which screen (options of a browser's page), and where on its page."""

    file: Path
    run: Path
    options: dict[str, Any] = field(default_factory=dict)
    place: Callable[[Page], None] = top


SHOTS = (
    Shot(ROOT / "docs" / "results" / "first-screen.png", QUICKSTART, {"viewport": SCREEN}),
    Shot(PICTURES / "dark.png", FOUR_ENGINES, {"viewport": SCREEN, "color_scheme": "dark"}),
    Shot(PICTURES / "curves.png", FOUR_ENGINES, {"viewport": SCREEN}, to_curves),
    Shot(PICTURES / "phone.png", FOUR_ENGINES, {"viewport": PHONE, "device_scale_factor": 1.5}),
    Shot(PICTURES / "print.png", QUICKSTART, {"viewport": PAPER}, on_paper),
)


def main() -> None:
    os.environ.pop("UV_RUN_RECURSION_DEPTH", None)  # commands on pictures are those of an installed program
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # its path stands on no picture
        for run, packed in PACKED.items():
            with tarfile.open(packed) as archive:
                archive.extractall(run, filter="data")
            write_report(run)
        write_whole(PICTURES / "terminal.svg", terminal(QUICKSTART))
        with _chromium() as browser:
            for shot in SHOTS:
                take(browser, shot)


@contextlib.contextmanager
def _chromium() -> Iterator[Browser]:
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if program is None:
        raise SystemExit("no Chromium on this machine: apt-get install chromium-headless-shell")
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def take(browser: Browser, shot: Shot) -> None:
    """Take one picture."""
    page = browser.new_page(**shot.options)
    page.goto((shot.run / "report.html").absolute().as_uri())
    shot.place(page)
    page.wait_for_timeout(500)
    write_whole(shot.file, small(page.screenshot(), shot.file.name))
    page.close()


def small(picture: bytes, name: str) -> bytes:
    """A PNG in few colours."""
    content = io.BytesIO()
    few = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
    few.save(content, "PNG", optimize=True)
    if (size := len(content.getvalue())) > MOST_BYTES:
        raise SystemExit(f"{name}: {size} bytes (at most {MOST_BYTES}). Show less on it")
    return content.getvalue()


def terminal(run: Path) -> str:
    """What `bitfrontier report` prints of a run, as an SVG that fetches nothing."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    print_results(read_results(run), console)
    console.print(f"Report: {run}/report.html", markup=False, highlight=False)
    title = f"bitfrontier report {run}"
    return console.export_svg(title=title, code_format=FONTS.sub("", CONSOLE_SVG_FORMAT), unique_id="terminal")


if __name__ == "__main__":
    main()
