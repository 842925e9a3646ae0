"""Gauges of a server's Prometheus page."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_SECONDS = 30.0


def read_gauges(url: str, headers: Mapping[str, str]) -> dict[str, float]:
    """Every sample of the page by name, summed over its labels (ranks, models). Raises httpx.HTTPError."""
    answer = httpx.get(url, headers=dict(headers), timeout=TIMEOUT_SECONDS)
    answer.raise_for_status()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found
