"""What a server counts itself: gauges of its Prometheus page, statistics of KServe's protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from engines.bounded_http import json_of, request

TIMEOUT_SECONDS = 30.0


def read_gauges(url: str, headers: Mapping[str, str]) -> dict[str, float]:
    """Every sample of the page by name, summed over its labels (ranks, models); without those that are no number or
    without bound. Raises httpx.HTTPError.
    """
    answer = request("GET", url, headers, seconds=TIMEOUT_SECONDS)
    answer.raise_for_status()
    gauges: dict[str, float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            gauges[sample.name] = gauges.get(sample.name, 0.0) + sample.value
    return {name: value for name, value in gauges.items() if math.isfinite(value)}


def read_statistics(url: str, headers: Mapping[str, str]) -> dict[str, float]:
    """Requests that ended well so far, and the mean seconds that one waited in the server's queue.

    Source: KServe's statistics extension, docs/protocol/extension_statistics.md of Triton. Raises httpx.HTTPError.
    """
    answer = request("GET", url, headers, seconds=TIMEOUT_SECONDS)
    answer.raise_for_status()
    statistics = json_of(answer)["model_stats"][0]["inference_stats"]
    count, queue = statistics["success"]["count"], statistics["queue"]
    waited = queue["ns"] / queue["count"] / 1e9 if queue["count"] else 0.0
    return {"server_requests": float(count), "server_queue_seconds": waited}
