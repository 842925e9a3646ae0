"""One contract for all engines: none is started so that it would run a model's code."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from engines.registry import engines_by_name
from engines.runtime.own_packages import ROOT
from engines.types import Device, Serving
from tests.support.planted_code import foreign, plant_code

DEVICES = [Device("cpu", "new", frozenset({"avx2", "avx512f"}), 1), Device("cuda", "H100", frozenset({"sm90"}), 1)]


@pytest.mark.parametrize("device", DEVICES, ids=["cpu", "cuda"])
@pytest.mark.parametrize("name", sorted(engines_by_name()))
def test_no_engine_is_told_to_trust_code(
    name: str, device: Device, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines_by_name()[name]
    if not engine.environments:
        pytest.skip(f"{name} starts nothing")
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    mark = plant_code(tiny_model)
    launch = engine.launch(
        Serving(tiny_model, device, 2, 2050, 4321, "key"), **{option.name: option.default for option in engine.options}
    )
    written = [file.read_text() for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    text = json.dumps([*launch.command, *launch.environment.items(), *written]).replace("_", "-").lower()
    assert set(re.findall(r"trust-remote-code\W*(\w*)", text)) <= {"false"}
    assert "evil" not in text
    assert not foreign(tmp_path / "cache")
    assert not mark.exists()


def test_no_program_of_ours_trusts_code() -> None:
    files = [*(ROOT / "engines").rglob("*.py"), *(ROOT / "quant").rglob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    keywords = [node for node in nodes if isinstance(node, ast.keyword)]
    given = [keyword.value for keyword in keywords if keyword.arg == "trust_remote_code"]
    assert given
    assert all(isinstance(value, ast.Constant) and value.value is False for value in given)
