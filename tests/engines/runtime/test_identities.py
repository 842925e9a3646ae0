"""What was given is known by its contents: packages, an image's digest, a program's version."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from engines.runtime import identities
from engines.runtime.identities import image_identity, interpreter_identity, program_identity


@pytest.fixture(autouse=True)
def fresh() -> None:
    for asked in (image_identity, interpreter_identity, program_identity):
        asked.cache_clear()


def _program(file: Path, text: str) -> str:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_an_interpreter_is_known_by_its_packages(tmp_path: Path) -> None:
    version = sys.version.split()[0]
    assert re.fullmatch(rf"python:{version}, \d+ packages [0-9a-f]{{16}}", interpreter_identity(sys.executable))
    other = _program(tmp_path / "python", 'echo \'["3.11.7", ["torch==2"]]\'')
    before = interpreter_identity(other)
    interpreter_identity.cache_clear()
    _program(tmp_path / "python", 'echo \'["3.11.7", ["torch==3"]]\'')
    assert interpreter_identity(other) != before
    broken = _program(tmp_path / "broken", "exit 1")
    assert interpreter_identity(broken) == f"python:{broken} (its packages are not known)"


def test_the_order_of_folders_of_packages_is_in_the_identity(tmp_path: Path) -> None:
    """The first of a name is the one that is imported."""
    for folder, number in (("a", "1.0"), ("b", "2.0")):
        record = tmp_path / folder / f"beside-{number}.dist-info"
        record.mkdir(parents=True)
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: beside\nVersion: {number}\n")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert interpreter_identity(sys.executable, (a, b)) == interpreter_identity(sys.executable, (a,))
    assert interpreter_identity(sys.executable, (a, b)) != interpreter_identity(sys.executable, (b, a))


def test_what_lies_in_the_working_directory_is_none_of_its_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = interpreter_identity(sys.executable)
    (tmp_path / "stray-1.0.dist-info").mkdir()
    (tmp_path / "stray-1.0.dist-info" / "METADATA").write_text("Name: stray\nVersion: 1.0\n")
    monkeypatch.chdir(tmp_path)
    interpreter_identity.cache_clear()
    assert interpreter_identity(sys.executable) == before


def test_an_image_is_known_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever names it has here."""
    monkeypatch.setattr(identities, "_output", lambda *_: "sha256:def\n")
    assert image_identity("docker", "some/image:1") == image_identity("docker", "own:1") == "image:sha256:def"


def test_an_image_that_is_not_here_has_no_identity_until_it_is_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the keys of its cells would change in the middle of a sweep."""
    monkeypatch.setattr(identities, "_output", lambda *_: None)
    with pytest.raises(LookupError, match=r"image absent:1 is not on this machine, so .* Run `docker pull absent:1`"):
        image_identity("docker", "absent:1")
    monkeypatch.setattr(identities, "_output", lambda *_: "sha256:def\n")
    assert image_identity("docker", "absent:1") == "image:sha256:def"


def test_a_program_is_known_by_its_version_or_its_bytes(tmp_path: Path) -> None:
    talking = _program(tmp_path / "server", "echo 12:30:00.125 starting; echo server version is 0.5.1-rc2")
    assert program_identity(talking) == "program:server 0.5.1-rc2"
    silent = _program(tmp_path / "silent", "exit 0")
    assert re.fullmatch(r"program:[0-9a-f]{16}", program_identity(silent))


@pytest.mark.parametrize("line", ["hello", "{}", "[1]", "[1, 2]", "[" * 100_000, ""])
def test_an_interpreter_may_print_anything(tmp_path: Path, line: str) -> None:
    (tmp_path / "line").write_text(line + "\n")
    other = _program(tmp_path / "python", f"cat {tmp_path / 'line'}")
    assert interpreter_identity(other) == f"python:{other} (its packages are not known)"


def test_a_pipe_is_no_program_to_wait_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "server", 0o755)
    with pytest.raises(OSError, match="it is not a regular file"):
        program_identity(str(tmp_path / "server"))
