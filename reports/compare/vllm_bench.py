"""Reads the result file of `vllm bench serve`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from reports.compare.foreign_types import Foreign, ForeignLoad


def read_vllm_bench(raw: Mapping[str, Any]) -> Foreign:
    done, rate = raw["completed"], float(raw.get("request_rate") or "inf")
    if raw.get("failed"):
        raise ValueError(f"{raw['failed']} of its requests failed")
    users = raw.get("max_concurrency") or (raw["num_prompts"] if math.isinf(rate) else None)
    load = ForeignLoad(
        concurrency=int(users) if users else None,
        rate_per_second=None if users else rate,
        prompt_tokens=raw["total_input_tokens"] / done,
        output_tokens=raw["total_output_tokens"] / done,
        output_rate=raw["output_throughput"],
        ttft_seconds=raw["median_ttft_ms"] / 1000,
        tpot_seconds=raw["median_tpot_ms"] / 1000,
    )
    return Foreign("vllm bench serve", str(raw.get("model_id", "")), (load,))
