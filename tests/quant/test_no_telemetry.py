"""No tool reports to its makers from our processes."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from engines.runtime.own_packages import ROOT
from quant.no_remote_code import forbid_telemetry


def test_what_would_report_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino_telemetry", ModuleType("openvino_telemetry"))
    forbid_telemetry()
    with pytest.raises(ImportError, match="openvino_telemetry"):
        __import__("openvino_telemetry")


@pytest.mark.parametrize("module", ["engines.launchers", "quant.worker"])
def test_every_process_that_may_import_openvino_forbids_it(module: str) -> None:
    """A launcher as it is imported, the worker before it loads a method."""
    call = "" if module == "engines.launchers" else "quant.worker._call({'module': 'm', 'file': 'f', 'method': 'x'})\n"
    code = f"import sys, contextlib, {module}\nwith contextlib.suppress(BaseException):\n    {call or 'pass'}\n"
    code += "print(sys.modules.get('openvino_telemetry', 'free'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
