"""An installed bitfrontier: built as a wheel, put into an environment of its own, used from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from engines.runtime.own_packages import COPY_RECORD, PACKAGES, ROOT
from flows.plan.source import load_plan


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel, where the packages it depends on are those of this one."""
    place = tmp_path_factory.mktemp("installed")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, place / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place / "source")
    _uv("build", "--wheel", "--out-dir", str(place), str(place / "source"))
    _uv("venv", "--python", sys.executable, str(place / "environment"))
    python = place / "environment" / "bin" / "python"
    (wheel,) = place.glob("*.whl")
    _uv("pip", "install", "--no-deps", "--python", str(python), str(wheel))
    (packages,) = (place / "environment").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python.parent


def _uv(*arguments: str) -> None:
    done = subprocess.run([find_uv_bin(), "--quiet", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def _run(command: list[str], folder: Path) -> str:
    variables = {**os.environ, "BITFRONTIER_CACHE": str(folder.parent / "cache")}
    variables.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_sample_plan_is_known_by_its_name(installed: Path, empty: Path) -> None:
    cells = json.loads(_run([str(installed / "bitfrontier"), "plan", "quickstart", "--json"], empty))["cells"]
    assert "gguf Q8_0 · llama_cpp" in {cell["cell"] for cell in cells}
    assert list(empty.iterdir()) == []


def test_sample_plans_are_copied_to_be_edited(installed: Path, empty: Path) -> None:
    _run([str(installed / "bitfrontier"), "init"], empty)
    assert {file.name for file in empty.iterdir()} == {"configs", "prefect.yaml", "prefect-workers.yaml"}
    assert load_plan(empty / "configs" / "quickstart.yaml").plan.name == "quickstart"
    assert (empty / "configs" / "plan.schema.json").exists()


def test_a_first_plan_is_written(installed: Path, empty: Path) -> None:
    shown = _run([str(installed / "bitfrontier"), "init", "pypi:smollm2-135m-instruct"], empty)
    assert "next: bitfrontier plan smollm2-135m-instruct.yaml" in shown
    assert {file.name for file in empty.iterdir()} == {"smollm2-135m-instruct.yaml", "plan.schema.json"}


def test_a_report_is_written(installed: Path, empty: Path) -> None:
    with tarfile.open(ROOT / "evidence" / "frontier-cpu-2026-11-22.tar.xz") as archive:
        archive.extractall(empty, filter="data")
    _run([str(installed / "bitfrontier"), "report", str(empty)], empty)
    page = (empty / "report.html").read_text(encoding="utf-8")
    assert "gptq W4A16-g64" in page
    assert (empty / "results.parquet").exists()


def test_children_see_our_packages_and_none_of_the_orchestrator(installed: Path, empty: Path) -> None:
    program = "from engines.runtime.own_packages import import_folder; print(import_folder())"
    folder = Path(_run([str(installed / "python"), "-P", "-c", program], empty).strip())
    assert folder.is_relative_to(empty.parent / "cache")
    assert {path.name for path in folder.iterdir()} == {*PACKAGES, COPY_RECORD}
    origins = "[spec and spec.origin for spec in map(find_spec, ('quant.worker', 'prefect'))]"
    child = f"import json, sys; from importlib.util import find_spec; sys.path.insert(0, {str(folder)!r}); "
    shown = _run(
        [sys.executable, "-I", "-S", "-c", f"{child}print(json.dumps({origins}))"], empty
    )  # -S: no other package
    assert json.loads(shown) == [str(folder / "quant" / "worker.py"), None]
