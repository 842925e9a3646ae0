"""What becomes of an engine in another process: its name finds it, its flags are a command line."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import engines.registry
from engines.types import arguments
from quant.registry import MethodError


def test_another_process_finds_it_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name, known = next(iter(engines.registry.engines_by_name().items()))
    crossing = pickle.dumps(known)
    assert pickle.loads(crossing) is known
    monkeypatch.setattr(engines.registry, "engines_by_name", dict)
    with pytest.raises(
        MethodError, match=f"^engine '{name}' is not installed here; `bitfrontier engines` lists what is$"
    ):
        pickle.loads(crossing)


def test_flags_become_words_of_a_command_line() -> None:
    flags = {"--model": Path("/m"), "--tp-size": 2, "--metrics": True, "--eager": False, "--quantize": None}
    assert arguments(flags) == ("--model", "/m", "--tp-size", "2", "--metrics")
