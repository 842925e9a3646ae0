"""A server that repeats its key in what it answers, and a whole run that holds no part of it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from flows.cli.commands import main
from flows.orchestration.log_tail import Tail
from flows.state.status import cell_states
from quant.errors import CellFailure
from reports.output.html_report import write_report
from tests.support.emulator import Handler, emulate
from tests.support.fake_sweep import install, measured, prepared_run
from tests.support.made_runs import write_run
from tests.support.made_trials import failed, trial
from tests.support.sweep_process import ROOT

KEY = "sk-planted-0123456789"


@pytest.mark.parametrize("filling", [0, 258])  # as it is, and cut within the key by what shortens the answer
def test_a_server_s_key_is_in_no_file_of_the_run(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, filling: int, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch.setattr)
    monkeypatch.setenv("THEIRS", KEY)
    monkeypatch.setattr(Handler, "refusal", "x" * filling + f" Bearer {KEY} and {KEY} are denied")
    with emulate("repeats-key", key=KEY) as url:
        engines = [{"engine": "fake", "attach": {"url": url, "key_variable": "THEIRS"}}]
        prepared = prepared_run(workplace, engines=engines)
        made = measured(prepared)
    assert made.status == "failed"
    assert "(hidden)" in made.reason
    run = prepared.folder
    write_report(run)
    table = str(parquet.read_table(run / "results.parquet").to_pylist())
    shown = [table, caplog.text, *(cell.reason for cell in cell_states(run))]
    files = {file: file.read_bytes().decode(errors="replace") for file in run.rglob("*") if file.is_file()}
    assert {".traceback", ".html", ".csv", ".json"} <= {file.suffix for file in files}
    for text in (*shown, *files.values()):
        assert KEY[:5] not in text


def test_what_a_server_says_of_itself_is_redacted_in_parts_and_trial(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    monkeypatch.setenv("THEIRS", KEY)
    monkeypatch.setattr(Handler, "about", {"/version": {"version": KEY}})
    with emulate("good", key=KEY) as url:
        engines = [{"engine": "fake", "attach": {"url": url, "key_variable": "THEIRS"}}]
        prepared = prepared_run(workplace, engines=engines)
        made = measured(prepared)
        assert (made.status, made.reason) == ("ok", "")
        before = {file: file.stat().st_mtime_ns for file in (prepared.folder / "parts").iterdir()}
        measured(prepared_run(workplace, engines=engines))
    assert {file: file.stat().st_mtime_ns for file in before} == before  # known again, and not measured twice
    assert made.facts["attached_server"] == "version (hidden)"
    files = [file for file in prepared.folder.rglob("*") if file.is_file()]
    assert not [file for file in files if KEY.encode() in file.read_bytes()]


def test_logs_are_passed_on_without_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", KEY)
    (tmp_path / "log").touch()
    tail = Tail(tmp_path / "log")
    (tmp_path / "log").write_text("x" * 990 + f" {KEY}\n")
    (line,), _ = tail.read(5)
    tail.close()
    assert "sk-" not in line


def test_a_key_in_an_old_trial_is_in_no_report_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = replace(trial("none", 10, 2.0, 80), facts={"version": KEY}, provenance={"attached": f"https://{KEY}@host"})
    run = write_run(tmp_path, old, failed("rtn", f"it said {KEY}"), notes=[f"at https://{KEY}@host"])
    monkeypatch.setenv("SOME_TOKEN", KEY)
    write_report(run)
    files = [file for file in run.iterdir() if file.is_file() and file.name != "sweep.json"]
    assert len(files) == 5  # page, CSV with its columns, Parquet, summary
    assert not [file for file in files if KEY.encode() in file.read_bytes()]
    assert KEY not in str(parquet.read_table(run / "results.parquet").to_pylist())


@pytest.mark.parametrize("error", [CellFailure(f"it said {KEY}", log_tail=f"log: {KEY}"), ValueError(KEY)])
def test_no_key_is_printed(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a message, and in the traceback of what nobody foresaw."""

    def broken() -> None:
        raise error

    monkeypatch.setenv("SOME_TOKEN", KEY)
    monkeypatch.setattr("flows.cli.commands.app", broken)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    printed = capsys.readouterr().err
    assert "(hidden)" in printed
    assert "sk-" not in printed


BROKEN = """
import os
from flows.cli.commands import app, main

@app.command()
def broken() -> None:
    raise ValueError(f"it said {os.environ['SOME_TOKEN']}")

main()
"""


def test_no_key_is_in_the_traceback_of_the_real_program(tmp_path: Path) -> None:
    """Typer puts its own hook in place of `sys.excepthook`."""
    ended = subprocess.run(
        [sys.executable, "-c", BROKEN, "broken"],
        env={**os.environ, "SOME_TOKEN": KEY, "TMPDIR": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: unexpected: ValueError: it said (hidden); its traceback is in ")
    written = Path(ended.stderr.split("its traceback is in ")[1].split(". This is")[0])
    assert written.read_text().endswith("ValueError: it said (hidden)\n")
    assert KEY not in ended.stdout + ended.stderr + written.read_text()
