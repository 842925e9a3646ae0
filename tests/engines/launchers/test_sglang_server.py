from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from engines.launchers.sglang_server import Finder


def test_names_of_an_absent_package_can_be_mentioned_and_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder(["absent_kernels"])])
    module = importlib.import_module("absent_kernels.scalar_type")
    assert [module.types.uint4, module.types.uint8]
    with pytest.raises(NotImplementedError, match=r"absent_kernels\.scalar_type\.gemm is not installed"):
        module.gemm(1)
    for place in (module, module.types):
        with pytest.raises(AttributeError, match="__wrapped__"):
            _ = place.__wrapped__
    with pytest.raises(ModuleNotFoundError, match="another_absent"):
        importlib.import_module("another_absent")
    for name in [name for name in sys.modules if name.startswith("absent_kernels")]:
        del sys.modules[name]


def test_importing_it_changes_nothing() -> None:
    """Only the server's own processes get the stand-ins: they run it as `__main__` or are spawned from it."""
    code = "import sys; before = list(sys.meta_path); import engines.launchers.sglang_server; assert sys.meta_path == before"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
