"""Environments beside each other compile a file that they share once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engines.runtime.installing.bytecode import compile_modules

MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"


def environment(folder: Path, **modules: str) -> Path:
    """An environment with these modules in a package; returns the package's folder."""
    package = folder / "lib" / MINOR / "site-packages" / "package"
    package.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(sys.executable)
    for name, text in modules.items():
        (package / f"{name}.py").write_text(text)
    return package


def compiled(package: Path, name: str) -> Path:
    return package / "__pycache__" / f"{name}.{sys.implementation.cache_tag}.pyc"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two environments, the first compiled, whose `same` is one file and whose `other` are two of one length."""
    first = environment(tmp_path / "first", same="x = 1\n", other="y = 1\n", broken="def (:\n")
    compile_modules(tmp_path / "first")
    second = environment(tmp_path / "second", other="y = 2\n", own="z = 3\n", broken="def (:\n")
    (second / "same.py").hardlink_to(first / "same.py")
    return first, second


def test_a_file_that_another_environment_compiled_is_linked(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    first, second = pair
    compile_modules(tmp_path / "second")
    assert compiled(second, "same").samefile(compiled(first, "same"))
    assert not compiled(second, "other").samefile(compiled(first, "other"))
    assert compiled(second, "own").exists()
    assert not compiled(second, "broken").exists()


def test_python_takes_what_is_linked_and_runs_the_environments_own(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    _, second = pair
    compile_modules(tmp_path / "second")
    program = "import package.same, package.other; print(package.same.x, package.other.y, package.same.__cached__)"
    done = subprocess.run(
        [sys.executable, "-v", "-c", program], cwd=second.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "2", str(compiled(second, "same"))]
    assert f"matches {second / 'same.py'}" in done.stderr
    assert "could not" not in done.stderr


def test_a_disk_without_links_compiles_all(
    tmp_path: Path, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    first, second = pair
    compile_modules(tmp_path / "second")
    assert compiled(second, "same").exists()
    assert not compiled(second, "same").samefile(compiled(first, "same"))
