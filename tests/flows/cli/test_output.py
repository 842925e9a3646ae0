from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rich.markup import escape
from rich.table import Table

import flows.cli.commands
from engines.runtime.cache import NotWritable, absolute_cache, is_marked, mark_cache
from flows.cli.output import SafeConsole, unforeseen
from tests.support.made_runs import write_run
from tests.support.made_trials import trial

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("variables", "arguments", "code"),
    [
        ({"PYTHONIOENCODING": "latin-1"}, ("plan", "configs/quickstart.yaml"), 0),
        ({"PYTHONIOENCODING": "ascii"}, ("methods",), 0),
        ({"LC_ALL": "C"}, ("methods",), 0),
        ({"PYTHONIOENCODING": "ascii"}, ("sweep", "→.yaml"), 2),
    ],
)
def test_a_terminal_that_is_not_utf_8_ends_nothing(
    variables: dict[str, str], arguments: tuple[str, ...], code: int
) -> None:
    command, environment = [sys.executable, "-m", "flows.cli", *arguments], {**os.environ, **variables}
    done = subprocess.run(command, capture_output=True, cwd=ROOT, env=environment)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr if code else done.stdout


def test_texts_of_others_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("a\x1b[2J", title="\x1b]0;title\x07")
    table.add_row(escape("\x9b31m[bold]"), "[red]kept[/red]")
    SafeConsole(force_terminal=True, color_system="standard", width=80).print(table, "\x1b[2J")
    shown = capsys.readouterr().out
    assert "\\x1b[2J" in shown
    assert "\\x9b31m" in shown
    assert "\x1b[31mkept" in shown  # its own colours stay
    assert not re.search("\x1b(?!\\[[0-9;]*m)|\x9b|\x07", shown)


def test_what_nobody_foresaw_is_a_line_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("SOME_API_KEY", "planted-secret-0123456789")
    try:
        raise ZeroDivisionError("planted-secret-0123456789")
    except ZeroDivisionError as error:
        line = unforeseen(error)
    (file,) = tmp_path.iterdir()
    assert line.startswith("error: unexpected: ZeroDivisionError: ")
    assert f"its traceback is in {file}. This is a bug in bitfrontier" in line
    assert "Traceback" in file.read_text()
    assert "planted-secret" not in file.read_text()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert "its traceback could not be written" in unforeseen(ValueError("x"))


@pytest.mark.parametrize("argument", [b"\x1b[2J", b"caf\xe9", b"a\x9bm"])
def test_an_argument_with_control_characters_is_refused(argument: bytes) -> None:
    command = [sys.executable, "-m", "flows.cli", "status", argument]
    done = subprocess.run(command, capture_output=True, cwd=ROOT)
    assert done.returncode == 2
    assert b"contains control characters, or is not UTF-8. Rename the file" in done.stderr
    assert not re.search(rb"[\x1b\x9b\xe9]", done.stderr)


@pytest.mark.parametrize(("name", "fault"), [("x" * 300, "File name too long"), ("file", "is a file")])
def test_a_cache_that_can_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: str) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / name))
    with pytest.raises(NotWritable, match=f"BITFRONTIER_CACHE names .*: {fault}"):
        absolute_cache()


def test_a_folder_in_place_of_the_caches_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path))
    (tmp_path / "CACHEDIR.TAG").mkdir()
    assert not is_marked()
    with pytest.raises(NotWritable, match=r"CACHEDIR\.TAG: cannot be read"):
        mark_cache()


class PanicException(BaseException):
    """What a library in Rust raises for a defect of its own."""


def test_a_panic_of_a_library_is_a_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def panic() -> None:
        raise PanicException("retry-limit-in-match over")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["bitfrontier", "doctor"])
    monkeypatch.setattr(flows.cli.commands, "app", panic)
    with pytest.raises(SystemExit) as ended:
        flows.cli.commands.main()
    assert ended.value.code == 1
    assert "error: unexpected: PanicException: retry-limit-in-match over" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "fault"), [("report.html", "Is a directory"), ("figures", "File exists")], ids=["folder", "file"]
)
def test_what_is_in_a_file_s_or_folder_s_place_is_said_and_no_defect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, fault: str
) -> None:
    run = write_run(tmp_path / "run", trial("none", 10, 1, 50))
    (run / name).mkdir() if name.endswith(".html") else (run / name).touch()
    monkeypatch.setattr(sys, "argv", ["bitfrontier", "report", str(run)])
    with pytest.raises(SystemExit) as ended:
        flows.cli.commands.main()
    stderr = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"error: {run / name}: {fault}. Move it away, or correct its permissions" in stderr
    assert "unexpected" not in stderr
