"""Children work in an empty folder: what lies where a command is started may be somebody else's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from engines.runtime.child_environment import child_environment
from engines.runtime.environments import resolve
from engines.runtime.process import running, wait


def test_a_child_finds_nothing_in_its_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds of llama.cpp whose backends are libraries look for `libggml-*.so` there, too (ggml-backend-reg.cpp)."""
    (tmp_path / "libggml-cpu-planted.so").touch()
    monkeypatch.chdir(tmp_path)
    code = "import os; print(os.getcwd(), os.listdir()); open('core', 'w').close()"
    with running([sys.executable, "-c", code], {}, Path("logs/child.log")) as child:
        assert wait(child) == 0
    folder, listed = (tmp_path / "logs" / "child.log").read_text().split(" ", 1)
    assert (Path(folder) == tmp_path, listed.strip()) == (False, "[]")
    assert not Path(folder).exists()


def test_paths_of_the_shell_are_those_of_its_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", "hub")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/lib:lib:{os.pathsep}")
    given = child_environment({})
    assert given["HF_HOME"] == str(tmp_path / "hub")
    assert given["LD_LIBRARY_PATH"] == f"/lib:{tmp_path / 'lib'}"


@pytest.mark.parametrize("folder", ["~/hub", "$SCRATCH/hub"])
def test_a_home_that_no_shell_has_put_in_stays(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a Dockerfile or a unit's file; the hub's client expands it."""
    monkeypatch.setenv("HF_HOME", folder)
    assert child_environment({})["HF_HOME"] == folder


def test_a_relative_interpreter_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    assert resolve("vllm-cpu", {"python": "./python"}).command == (str(tmp_path / "python"),)
    assert resolve("vllm-cpu", {"python": "python3"}).command == ("python3",)
