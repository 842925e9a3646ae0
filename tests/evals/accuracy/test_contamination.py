from __future__ import annotations

from evals.accuracy.contamination import RUN_TOKENS, runs, shares_a_run
from evals.scoring.types import Pair


def test_a_run_is_found_across_context_and_continuation() -> None:
    known = runs([range(100, 130), range(5)])
    assert len(known) == 30 - RUN_TOKENS + 1
    assert shares_a_run(Pair((1, 2, *range(110, 117)), tuple(range(117, 123))), known)
    assert not shares_a_run(Pair((1, 2, *range(110, 117)), tuple(range(117, 122))), known)
    assert not shares_a_run(Pair(tuple(range(5)), (5,)), known)
    assert not shares_a_run(Pair(tuple(range(100, 130)), (5,)), frozenset())
