"""Connections of a load, and how many files this process may have open."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.plan.source import Problem, load_plan
from flows.validate.loads import open_file_problems
from tests.support.bad_plans.changes import GOOD

SIZES = {"requests": 2048, "prompt_tokens": 8, "output_tokens": 4}
CLOSED, OPEN = {"concurrency": 1024, **SIZES}, {"rate_per_second": 5, **SIZES}
SEARCH = {"over": "concurrency", "highest": 1024, **SIZES}


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The limits that a process has, the last of which count."""
    known = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: known[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, given: known.append(given))
    return known


def _problems(folder: Path, **changes: Any) -> list[Problem]:
    (folder / "plan.yaml").write_text(yaml.safe_dump(GOOD | changes, sort_keys=False))
    return list(open_file_problems(load_plan(folder / "plan.yaml")))


@pytest.mark.parametrize(("load", "soft"), [(CLOSED, 1152), (OPEN, 2176)])
def test_the_soft_limit_is_raised_to_what_a_load_takes(
    tmp_path: Path, limits: list[tuple[int, int]], load: dict[str, Any], soft: int
) -> None:
    assert not _problems(tmp_path, load=[load])
    assert limits[-1] == (soft, 4096)


def test_a_load_within_the_limit_changes_nothing(tmp_path: Path, limits: list[tuple[int, int]]) -> None:
    assert not _problems(tmp_path)
    assert limits == [(1024, 4096)]


def test_a_load_beyond_the_hard_limit_is_refused(tmp_path: Path, limits: list[tuple[int, int]]) -> None:
    limits.append((1024, 1024))
    problems = _problems(tmp_path, load=[CLOSED], search=[SEARCH], slo={"tpot_ms": 50})
    assert len(problems) == 2
    for problem in problems:
        assert "1024 connections and 128 other files are over this process's hard limit of 1024" in problem.message
        assert "use at most 896" in problem.fix
    assert problems[0].line != problems[1].line


def test_a_process_without_limits_takes_any_load(tmp_path: Path, limits: list[tuple[int, int]]) -> None:
    limits.append((resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert not _problems(tmp_path, load=[CLOSED])
    assert len(limits) == 2
