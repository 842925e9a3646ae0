"""Chromium for tests of pages: what a page did wrong is in `faults`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

PROGRAMS = (
    "chromium-headless-shell",
    "chromium",
    "google-chrome",
)  # the first takes two thirds of the others' CPU time
CHROMIUM = next(filter(None, map(shutil.which, PROGRAMS)), None)
NO_CHROMIUM = "no Chromium on this machine (apt-get install chromium-headless-shell)"
needs_chromium = pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason=NO_CHROMIUM)


@contextmanager
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.fail(NO_CHROMIUM)
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page of a file, watched."""

    def __init__(self, browser: Browser, file: Path, address: str = "", **options: Any) -> None:
        self.page: Page = browser.new_page(**options)
        self.faults: list[str] = []
        self.page.on("console", lambda message: self.faults.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("request", self._asked)
        self.file = file.resolve().as_uri()
        self.page.goto(self.file + address)

    def _asked(self, request: Any) -> None:
        if request.url.split("#")[0] != self.file:
            self.faults.append(f"request: {request.url}")

    def show_axes(self, x: str, y: str) -> None:
        """On the frontier chart, by their names."""
        self.page.locator("#x-axis").select_option(x)
        self.page.locator("#y-axis").select_option(y)

    def settle(self) -> None:
        """Until what was changed is shown."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
