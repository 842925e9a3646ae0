from __future__ import annotations

import pytest

import flows.plan.base
from flows.plan.schema import Plan
from tests.support.bad_plans.changes import GOOD


@pytest.mark.parametrize(("cores", "threads"), [(0.5, 1), (1.9, 1), (6.0, 6), (96.0, 96)])
def test_threads_are_the_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch, cores: float, threads: int) -> None:
    monkeypatch.setattr(flows.plan.base, "available_cores", lambda: cores)
    assert Plan.model_validate(GOOD).thread_count == threads
    assert Plan.model_validate(GOOD | {"threads": "auto"}).thread_count == threads
    assert Plan.model_validate(GOOD | {"threads": 3}).thread_count == 3
