"""Fixtures that several packages' tests share."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.pop("UV_RUN_RECURSION_DEPTH", None)  # commands in texts are the same, however the tests are started

import reports.output.html_report
from tests.support.checkpoints import write_tiny_model
from tests.support.drawing import left_blank

os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"  # no test asks a hub, and where there is none it takes long to say so

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes are started: what they import is compiled once
sys.dont_write_bytecode = False


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny")


@pytest.fixture(autouse=True)
def _figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they show is tried in `tests/reports/output`."""
    monkeypatch.setattr(reports.output.html_report, "drawn_beside", left_blank)
