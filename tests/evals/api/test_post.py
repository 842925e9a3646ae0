from __future__ import annotations

import httpx
import pytest

from evals.api.post import _retry_after


@pytest.mark.parametrize("given", ["nan", "inf", "-5", "1e400", "soon"])
def test_a_wait_that_is_none_is_our_own(given: str) -> None:
    assert _retry_after(httpx.Response(503, headers={"retry-after": given}), 0.5) == 0.5


def test_a_wait_in_seconds_is_the_server_s() -> None:
    assert _retry_after(httpx.Response(503, headers={"retry-after": "2.5"}), 0.5) == 2.5
