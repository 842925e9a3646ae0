from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.registry import engines_by_name
from flows.validate.parameters import fill


@pytest.mark.parametrize(
    ("given", "wanted"), [("./server", "{here}/server"), ("llama-server", "llama-server"), ("/a/b", "/a/b"), ("", "")]
)
def test_an_executable_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, wanted: str
) -> None:
    """Servers work in an empty folder, the process that measures in `/`."""
    monkeypatch.chdir(tmp_path)
    parsed: Any = None  # nothing is wrong
    filled = fill(parsed, engines_by_name()["llama_cpp"].options, {"executable": given}, (), "llama_cpp", [])
    assert filled == {"parallel": 8, "executable": wanted.format(here=tmp_path)}
