"""The command line with plug-ins that cannot be loaded: one warning line each, and every command works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.made_runs import write_run
from tests.support.made_trials import trial
from tests.support.plugins import install_plugin

ROOT = Path(__file__).resolve().parents[3]
SYNTAX = "cannot be loaded: SyntaxError: invalid syntax (broken_{}.py, line 1)"
THEIRS = "theirs.py cannot be loaded: ModuleNotFoundError: No module named 'no_such_package'"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the program with a method's and an engine's file that are no Python."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("quant", "engines", "evals", "reports", "flows", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "quant/methods/broken_method.py").write_text("def broken(:\n")
    (folder / "engines/servers/broken_engine.py").write_text("def broken(:\n")
    install_plugin(folder / "site", "bitfrontier.methods", "theirs", "import no_such_package\n")
    return folder


def _bitfrontier(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.cli", *arguments]
    variables = {**os.environ, "PYTHONPATH": str(checkout / "site")}
    return subprocess.run(command, cwd=checkout, env=variables, capture_output=True, text=True, check=False)


def test_each_is_a_line_and_the_commands_work(checkout: Path) -> None:
    done = _bitfrontier(checkout, "methods")
    assert (done.returncode, "smoothquant" in done.stdout) == (0, True), done.stderr
    done = _bitfrontier(checkout, "plan", "configs/quickstart.yaml")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 3, done.stderr
    for line, end in zip(lines, (SYNTAX.format("method"), THEIRS, SYNTAX.format("engine")), strict=True):
        assert line.startswith("Warning: ")
        assert line.endswith(end)


def test_a_plan_that_names_it_is_told_why(checkout: Path) -> None:
    plan = (checkout / "configs/methods-cpu.yaml").read_text()
    named = plan.replace("  - {method: none,", "  - {method: theirs}\n  - {method: broken_method}\n  - {method: none,")
    (checkout / "plan.yaml").write_text(named)
    done = _bitfrontier(checkout, "sweep", "plan.yaml")
    assert done.returncode == 2, done.stderr
    assert f"plan.yaml:{_line(checkout, 'method: theirs')}: unknown method 'theirs'; " in done.stderr
    assert f"{THEIRS}\n  fix: " in done.stderr
    assert f"{SYNTAX.format('method')}\n  fix: " in done.stderr
    assert "Traceback" not in done.stderr


def _line(checkout: Path, text: str) -> int:
    lines = (checkout / "plan.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_a_report_needs_none_of_them(checkout: Path, tmp_path: Path) -> None:
    done = _bitfrontier(checkout, "report", str(write_run(tmp_path, trial("none", 10, 2.0, 80))))
    assert (done.returncode, done.stderr) == (0, "")


def test_an_engine_that_names_it_is_told_why(checkout: Path) -> None:
    done = _bitfrontier(checkout, "engines", "broken_engine")
    assert done.returncode == 2
    assert SYNTAX.format("engine") in done.stderr.replace("\n", " ")
