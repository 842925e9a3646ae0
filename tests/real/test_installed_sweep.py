"""The wheel, installed as README says into an empty place, sweeps there: a real model in a real engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from uv import find_uv_bin

from engines.runtime.own_packages import PACKAGES, ROOT
from evals.schema.trial_file import read_trial
from tests.support.one_cell_plan import write_one_cell_plan

pytestmark = pytest.mark.real


def _run(command: list[str | Path], folder: Path, **variables: str) -> str:
    mine = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(command, cwd=folder, env=mine | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_tool_sweeps_from_any_folder(tmp_path: Path) -> None:
    source, tools, empty = tmp_path / "source", tmp_path / "tools", tmp_path / "empty"
    empty.mkdir()
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    uv = find_uv_bin()
    _run([uv, "build", "--quiet", "--wheel", "--out-dir", tmp_path, source], tmp_path)
    places = {"UV_TOOL_DIR": str(tools), "UV_TOOL_BIN_DIR": str(tools / "bin")}
    _run([uv, "tool", "install", "--quiet", next(tmp_path.glob("*.whl"))], empty, **places)

    write_one_cell_plan(empty, "installed")
    answer = json.loads(_run([tools / "bin" / "bitfrontier", "sweep", "plan.yaml", "--json"], empty))
    assert answer["report"] == "runs/installed/report.html"
    (trial,) = map(read_trial, (empty / "runs" / "installed" / "trials").glob("*.json"))
    assert trial.status == "ok"
    assert [(score.task, len(score.values)) for score in trial.scores] == [("arc_easy", 2)]
    assert (empty / "runs" / "installed" / "report.html").stat().st_size > 100_000
    assert {path.name for path in empty.iterdir()} == {"plan.yaml", "runs"}
