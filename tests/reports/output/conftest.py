"""A browser, and the runs whose pages are opened in it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import reports.output.html_report
from engines.runtime.own_packages import ROOT
from reports.output.html_report import write_report
from tests.support.browser import chromium
from tests.support.drawing import drawn_here
from tests.support.made_trials import failed
from tests.support.planted_page import page_trials, write_page_run


@pytest.fixture(scope="module")  # no longer: no test could run an event loop beside Playwright's
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.fixture(autouse=True)
def _closed(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test opened takes part in no later one's time and memory."""
    yield
    if "browser" in request.fixturenames:
        for context in request.getfixturevalue("browser").contexts:
            context.close()


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    price = {"per_device_hour": 2.0, "currency": "EUR"}
    return write_page_run(
        tmp_path_factory.mktemp("page") / "run", [*page_trials(), failed("broke", "it broke")], price=price
    )


@pytest.fixture(scope="session")
def four_engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real sweep of eleven checkpoints in four engines, packed by `benchmarks.pack`."""
    folder = tmp_path_factory.mktemp("four-engines")
    with tarfile.open(ROOT / "evidence" / "frontier-cpu-2026-11-22.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    write_report(folder)
    return folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have their figures."""
    monkeypatch.setattr(reports.output.html_report, "drawn_beside", drawn_here)
