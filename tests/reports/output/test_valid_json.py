"""What the page's script and other programs read is JSON, also of intervals without bound and of old plans' `.inf`."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from flows.cli.commands import compare
from flows.cli.sweep_command import Shown, conclude
from reports.decision.results import read_results
from reports.output.html_report import write_report
from reports.output.json_data import as_data
from reports.output.llmd_export import export
from tests.support.made_runs import write_run
from tests.support.made_trials import ABOUT, trial


def _strict(text: str) -> Any:
    def fail(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=fail)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    limits = {**ABOUT["limits"], "kl_nats": math.inf, "memory_gib": math.inf}
    return write_run(tmp_path / "run", trial("none", 10, 2.0, 80), trial("rtn", 20, 1.0, 78, 2.05), limits=limits)


def test_the_page_s_data_is_json(run: Path) -> None:
    page = write_report(run).read_text(encoding="utf-8")
    data = _strict(re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)[0])
    assert data["planned"]["kl"] is None


def test_what_commands_print_for_scripts_is_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conclude(run / "report.html", Shown(as_json=True))
    printed = _strict(capsys.readouterr().out)
    assert "Infinity" in json.dumps(as_data(read_results(run)))  # there was something to replace
    assert printed["answer"]
    compare(run, run, speed_margin=0.05, cell=None, html=None, as_json=True)
    _strict(capsys.readouterr().out)


def test_an_export_is_json(run: Path, tmp_path: Path) -> None:
    documents = [_strict(file.read_text()) for file in export(read_results(run), tmp_path / "out")]
    assert documents
    assert all(documents)
