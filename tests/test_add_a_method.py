"""The promise of CONTRIBUTING: a method is one file and one test, without another edit. Done here in a temporary copy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _blocks() -> tuple[str, str]:
    """The method file and the test that CONTRIBUTING shows."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"`((?:quant/methods|tests/quant)/\w+\.py)`:\n\n```python\n(.*?)```", text, flags=re.S))
    return blocks["quant/methods/keep_ends.py"], blocks["tests/quant/test_keep_ends.py"]


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_a_method_is_one_file_and_one_test(tmp_path: Path) -> None:
    for name in ("quant", "engines", "evals", "reports", "flows", "configs", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    method, test = _blocks()
    (tmp_path / "quant/methods/keep_ends.py").write_text(method)
    (tmp_path / "tests/quant/test_keep_ends.py").write_text(test)

    listed = _run(tmp_path, "-m", "flows.cli", "methods", "keep_ends")
    assert listed.returncode == 0, listed.stderr
    assert "keep_ends" in listed.stdout
    assert "group_size" in listed.stdout

    files = ("tests/quant/test_keep_ends.py", "tests/quant/test_contract.py", "tests/flows/validate/test_methods.py")
    tested = _run(tmp_path, "-m", "pytest", "-v", *files, "-k", "keep_ends or test_methods")
    assert tested.returncode == 0, tested.stdout
    for file in files:
        assert re.search(rf"^{file}::.* PASSED", tested.stdout, flags=re.M), file

    plan = (
        (ROOT / "configs/methods-cpu.yaml")
        .read_text()
        .replace("{method: none,", "{method: keep_ends, parameters: {group_size: 100}}\n  - {method: none,")
    )
    (tmp_path / "plan.yaml").write_text(plan)
    refused = _run(tmp_path, "-m", "flows.cli", "plan", "plan.yaml")
    assert refused.returncode == 2
    assert "group_size 100 does not divide the layer width 576" in refused.stderr

    (tmp_path / "plan.yaml").write_text(plan.replace("group_size: 100", "group_size: 64"))
    planned = _run(tmp_path, "-m", "flows.cli", "plan", "plan.yaml", "--json")
    assert planned.returncode == 0, planned.stderr
    assert "keep_ends W4A16-g64" in planned.stdout
