from __future__ import annotations

from pathlib import Path

import pytest

from engines.runtime.server import serve
from engines.types import Serving
from evals.api.post import ScoringFailed
from evals.scoring.generate import Prompt, generate
from tests.support.fake_engine import CPU, HERE, fake_engine


def _generate(tmp_path: Path, behaviour: str) -> list[str]:
    engine = fake_engine(behaviour)
    with serve(engine, HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        return generate(endpoint, [Prompt((1, 2), 4, (" is",)), Prompt((3,), 4, ("\n",))])


def test_answers_come_in_order_and_end_at_their_stops(tmp_path: Path) -> None:
    assert _generate(tmp_path, "good") == ["the capital", "the capital is"]


def test_an_error_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(ScoringFailed, match="answered 500: the kernel is missing"):
        _generate(tmp_path, "error")
