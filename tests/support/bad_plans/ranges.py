"""Numbers that nothing can work with, and more of everything than a sweep ever ends with."""

from __future__ import annotations

import copy
from typing import Any

from tests.support.bad_plans.changes import GOOD, Wrong, add_entry, set_key

_WIDE = {"max_num_seqs": list(range(1, 31)), "kv_cache_gib": list(range(1, 31)), "dtype": ["auto"] * 30}


def _many_cells(plan: dict[str, Any]) -> None:
    """200 methods with 60 seeds each."""
    plan["methods"] = [
        {"method": "gptq", "name": f"g{n}", "parameters": {"group_size": 32}, "seeds": list(range(200))}
        for n in range(60)
    ]


RANGES: dict[str, Wrong] = {
    "a batch of −5": (
        set_key("engines", 0, "options", value={"max_batch": -5}),
        "'engines[0].options.max_batch' must be at least 1, but it is -5",
        "see `bitfrontier engines transformers`",
    ),
    "a port of 99999999": (
        add_entry("engines", {"engine": "openai", "attach": {"url": "http://x:99999999"}, "methods": ["none"]}),
        "`url` is not an address: its host or port (1 to 65535) is wrong",
        "change the value",
    ),
    "an address that is none": (
        add_entry("engines", {"engine": "openai", "attach": {"url": "http://[::1"}, "methods": ["none"]}),
        "`url` is not a",
        "change the value",
    ),
    "a seed of 33 bits": (set_key("seed", value=2**32), "'seed' must be below 4294967296", "of `seed`"),
    "30 × 30 × 30 sets of options": (
        add_entry("engines", {"engine": "vllm", "options": _WIDE}),
        "the lists of options have 27000 combinations (at most 256)",
        "shorten the lists",
    ),
    "1,200 sets of options": (
        set_key(
            "engines",
            value=[
                {"engine": "vllm", "options": {"max_num_seqs": list(range(n, n + 240))}} for n in range(1, 1201, 240)
            ],
        ),
        "the engines have over 1000 sets of options",
        "leave out sets that cannot win",
    ),
    "12,000 cells": (_many_cells, "the plan has 12000 cells (at most 10000)", "split the plan, or leave out cells"),
    "1,001 loads": (
        set_key("load", value=[copy.deepcopy(GOOD["load"][0])] * 1001),
        "'load' must have at most 1000 entries",
        "change the value of `load`",
    ),
    "10^10 samples": (
        set_key("calibration", "samples", value=10**10),
        "'calibration.samples' must be at most 1000000000",
        "change the value of `samples`",
    ),
    "a limit of 10^300 ms": (
        set_key("slo", value={"ttft_ms": 1e300}),
        "'slo.ttft_ms' must be at most 1000000000",
        "change the value of `ttft_ms`",
    ),
    "a group of a million": (
        set_key("methods", 1, "parameters", "group_size", value=1_000_000),
        "group_size' must be at most 65536",
        "see `bitfrontier methods rtn`",
    ),
}
