"""Reads GuideLLM's result file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.compare.foreign_types import Foreign, ForeignLoad


def read_guidellm(raw: Mapping[str, Any]) -> Foreign:
    loads = tuple(_guidellm_load(benchmark) for benchmark in raw["benchmarks"])
    backend = raw["benchmarks"][0]["config"].get("backend") or {}
    return Foreign("GuideLLM", str(backend.get("model") or ""), loads)


def _guidellm_load(benchmark: Mapping[str, Any]) -> ForeignLoad:
    strategy, metrics = benchmark["config"]["strategy"], benchmark["metrics"]
    kind = strategy["type_"]
    users = 1 if kind == "synchronous" else strategy.get("streams") if kind == "concurrent" else None

    def figure_of(name: str, figure: str) -> float:
        return float(metrics[name]["successful"][figure])

    return ForeignLoad(
        concurrency=users,
        rate_per_second=None if users else strategy.get("rate") or figure_of("requests_per_second", "mean"),
        prompt_tokens=figure_of("prompt_token_count", "mean"),
        output_tokens=figure_of("output_token_count", "mean"),
        output_rate=figure_of("output_tokens_per_second", "mean"),
        ttft_seconds=figure_of("time_to_first_token_ms", "median") / 1000,
        tpot_seconds=figure_of("inter_token_latency_ms", "median") / 1000,  # its own TPOT has the first token in it
    )
