from __future__ import annotations

import json

import httpx
import pytest

import engines.runtime.prometheus
from engines.runtime.prometheus import read_gauges, read_statistics


@pytest.mark.parametrize(("queue", "seconds"), [({"count": 4, "ns": 2_000_000}, 0.0005), ({"count": 0, "ns": 0}, 0.0)])
def test_kserves_statistics_are_read(queue: dict[str, int], seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = {
        "model_stats": [{"name": "served", "inference_stats": {"success": {"count": 4, "ns": 9}, "queue": queue}}]
    }

    def request(method: str, url: str, *_: object, **__: object) -> httpx.Response:
        return httpx.Response(200, content=json.dumps(statistics), request=httpx.Request(method, url))

    monkeypatch.setattr(engines.runtime.prometheus, "request", request)
    assert read_statistics("http://x/v2/models/served/stats", {}) == {
        "server_requests": 4.0,
        "server_queue_seconds": seconds,
    }


def test_gauges_that_are_no_number_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    page = 'a 1\nb NaN\nc +Inf\nd 1e400\na{x="1"} 2\n'

    def request(method: str, url: str, *_: object, **__: object) -> httpx.Response:
        return httpx.Response(200, content=page, request=httpx.Request(method, url))

    monkeypatch.setattr(engines.runtime.prometheus, "request", request)
    assert read_gauges("http://x/metrics", {}) == {"a": 3.0}
