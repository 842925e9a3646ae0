from __future__ import annotations

import numpy as np
import pytest

from evals.load.arrivals import due_seconds
from evals.schema.load import Arrivals, LoadPoint


def _gaps(arrivals: Arrivals, variation: float = 1.0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    load = LoadPoint(None, 20_001, 10, 10, 4.0, arrivals, variation)
    return np.diff(np.asarray(due_seconds(load, seed=0, repeat=0)))


@pytest.mark.parametrize(
    ("arrivals", "variation", "expected"),
    [("constant", 1.0, 0.0), ("poisson", 1.0, 1.0), ("gamma", 2.0, 2.0), ("gamma", 0.5, 0.5)],
)
def test_gaps_have_the_rate_and_the_variation(arrivals: Arrivals, variation: float, expected: float) -> None:
    gaps = _gaps(arrivals, variation)
    assert gaps.mean() == pytest.approx(0.25, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(expected, rel=0.05, abs=1e-9)


def test_the_first_is_due_at_once_and_the_same_seed_gives_the_same() -> None:
    load = LoadPoint(None, 10, 10, 10, 4.0, "poisson")
    assert due_seconds(load, seed=0, repeat=0)[0] == 0.0
    assert due_seconds(load, seed=0, repeat=0) == due_seconds(load, seed=0, repeat=0)
    assert due_seconds(load, seed=0, repeat=0) != due_seconds(load, seed=0, repeat=1)
    assert len(due_seconds(load, seed=0, repeat=0)) == 10


def test_a_closed_loop_has_no_rate() -> None:
    with pytest.raises(ValueError, match="a closed loop has no rate"):
        due_seconds(LoadPoint(4, 10, 10, 10), seed=0, repeat=0)
