from __future__ import annotations

import logging
from pathlib import Path

import pytest

from engines.runtime.own_packages import PACKAGES
from flows.state import run_log
from flows.state.run_log import RUN_LOG, guard_warnings, log_to_console, logged
from quant.canonical_json import open_to_append

logger = logging.getLogger("engines.somewhere")


@pytest.fixture
def loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our packages' loggers as they are at first; what a test makes of them is not left to others."""
    for name in PACKAGES:
        package = logging.getLogger(name)
        monkeypatch.setattr(package, "handlers", [])
        monkeypatch.setattr(package, "propagate", True)
        monkeypatch.setattr(package, "level", package.level)


def test_all_records_of_our_packages_are_in_the_run_s_log(tmp_path: Path) -> None:
    for text in ("first", "second"):  # a sweep that goes on appends
        with logged(tmp_path):
            logger.debug("%s run", text)
            logging.getLogger("httpx").error("another package's")
    logger.debug("after the run")
    lines = (tmp_path / RUN_LOG).read_text().splitlines()
    assert ["DEBUG engines.somewhere" in line for line in lines] == [True, True]
    assert [line.rpartition(": ")[2] for line in lines] == ["first run", "second run"]


def test_a_full_disk_ends_no_run_and_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "open_to_append", lambda _: open_to_append(Path("/dev/full")))
    with logged(tmp_path):
        for number in range(5):
            logger.info("record %d", number)
    assert capsys.readouterr().err == (
        f"{tmp_path / RUN_LOG} cannot be written (No space left on device); the run continues without it\n"
    )


def test_a_log_that_cannot_be_made_ends_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs").write_text("in its way")
    with logged(tmp_path):
        logger.info("a record")
    assert capsys.readouterr().err.count("cannot be written") == 1


def test_a_link_in_the_place_of_the_log_gets_no_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "bashrc"
    target.write_text("mine")
    (tmp_path / "logs").mkdir()
    (tmp_path / RUN_LOG).symlink_to(target)
    with logged(tmp_path):
        logger.info("rm -rf ~")
    assert target.read_text() == "mine"
    assert capsys.readouterr().err.count("cannot be written (Too many levels of symbolic links)") == 1


def test_what_is_no_full_disk_is_shown_as_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logged(tmp_path):
        logger.info("%d", "no number")
    assert "--- Logging error ---" in capsys.readouterr().err


def test_no_key_gets_into_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_planted_token")
    monkeypatch.setenv("MY_SERVER_API_KEY", "sk-planted")
    with logged(tmp_path):
        logger.info("vllm serve --api-key planted-option --port 1")
        logger.info("https://user:planted-password@host/simple and {'Authorization': 'Bearer planted-bearer'}")
        try:
            raise ValueError("refused hf_planted_token and sk-planted")
        except ValueError:
            logger.exception("it failed")
    text = (tmp_path / RUN_LOG).read_text()
    assert "planted" not in text
    assert text.count("(hidden)") == 7  # in the traceback's source line too
    assert "https://(hidden)@host/simple" in text
    assert "--port 1" in text


@pytest.mark.parametrize(("verbosity", "shown"), [(1, ["INFO"]), (2, ["DEBUG", "INFO"]), (3, ["DEBUG", "INFO"])])
def test_the_console_shows_what_is_asked_for(
    verbosity: int, shown: list[str], capsys: pytest.CaptureFixture[str], loggers: None
) -> None:
    log_to_console(verbosity)
    logger.debug("all")
    logger.info("done")
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == shown


@pytest.mark.usefixtures("loggers")
def test_texts_of_others_move_no_cursor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "lastResort", logging._StderrHandler(logging.WARNING))
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    guard_warnings()
    logger.warning("a name \x1b]0;title\x07 \x9b2J of a trial; api_key=p4@ss-w0rd")
    log_to_console(1)
    logger.warning("again \x1b[2J")
    shown = capsys.readouterr().err
    assert shown == (
        "a name \\x1b]0;title\\x07 \\x9b2J of a trial; api_key=(hidden)\nWARNING engines.somewhere: again \\x1b[2J\n"
    )


def test_a_log_with_a_second_name_is_left_to_it(tmp_path: Path) -> None:
    """A backup of links (`cp -al`), or a file of ours under the name of a log."""
    (tmp_path / "bashrc").write_text("mine")
    (tmp_path / "logs").mkdir()
    (tmp_path / RUN_LOG).hardlink_to(tmp_path / "bashrc")
    with logged(tmp_path):
        logger.info("a record")
    assert (tmp_path / "bashrc").read_text() == "mine"
    assert "a record" in (tmp_path / RUN_LOG).read_text()
