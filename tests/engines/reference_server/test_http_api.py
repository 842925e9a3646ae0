from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest

from engines.reference_server.api_schema import BadRequest
from engines.reference_server.http_api import _bad_request


@pytest.mark.parametrize(
    ("error", "status"), [(BadRequest("the prompt is empty"), 400), (BadRequest("the key is wrong", 401), 401)]
)
def test_a_refusal_has_the_status_that_it_was_raised_with(error: BadRequest, status: int) -> None:
    answer = asyncio.run(_bad_request(cast(Any, None), error))
    assert answer.status_code == status
    assert json.loads(bytes(answer.body))["error"] == {"message": str(error), "code": status}
