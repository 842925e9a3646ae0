from __future__ import annotations

import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest

from flows.cli.report_command import SCREENS, opened
from tests.support.made_runs import write_run
from tests.support.made_trials import trial

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SCREENS:
        monkeypatch.delenv(name, raising=False)


def test_without_a_screen_nothing_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("it was opened"))
    assert not opened(tmp_path)


def test_a_browser_gets_the_address_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda address: not asked.append(address))  # type: ignore[func-returns-value]
    assert opened(tmp_path / "a report.html")
    assert asked == [f"file://{tmp_path}/a%20report.html"]


@pytest.mark.parametrize("error", [webbrowser.Error, OSError, ValueError, IndexError])
def test_a_browser_that_fails_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(_: str) -> bool:
        raise error

    monkeypatch.setenv("BROWSER", "'")
    monkeypatch.setattr(webbrowser, "open", fail)
    assert not opened(tmp_path)


@pytest.mark.parametrize("browser", ["", "true %s", "no-such-program %s", "  "])
def test_the_command_ends_well_whether_or_not_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: str
) -> None:
    monkeypatch.setenv("BROWSER", browser)
    run = write_run(tmp_path / "run", trial("none", 10, 2.0, 80))
    command = [sys.executable, "-m", "flows.cli", "report", str(run), "--open"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    message = f"no browser could be opened. Open {run}/report.html"
    assert (message in done.stderr) == (browser != "true %s")
    assert 'href="run/report.html"' in (tmp_path / "index.html").read_text()
