"""The generated tables of README.md on loads and memory, from a run's `--json` output. Called by cog."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.readme import markdown, read, shown

GIB = 1024**3


def rates_table(file: str) -> str:
    """Output tokens/s of each cell at each concurrency."""
    cells = [row for row in read(file)["cells"] if row["status"] == "ok"]
    loads = [one["load"]["concurrency"] for one in cells[0]["loads"] if one["load"]["concurrency"]]
    rows = [[row["cell"], *(shown(_at(row, at)["output_tokens_per_second"]) for at in loads)] for row in cells]
    return markdown(["cell", *(f"at {at}" for at in loads)], 1, rows)


def _at(row: dict[str, Any], concurrency: int) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in row["loads"] if one["load"]["concurrency"] == concurrency)
    return found


def fastest_table(file: str) -> str:
    """The best cell at each concurrency and those that cannot be told from it."""
    rows = [
        [one["concurrency"], one["name"], ", ".join(one["near"]) or "–", shown(one["rate"])]
        for one in read(file)["fastest"]
    ]
    return markdown(["concurrency", "fastest", "cannot be told apart", "output tok/s"], 3, rows)


def crossings_table(file: str) -> str:
    """Where one cell overtakes another; ends of an interval beyond what was measured are unbounded."""
    rows = [[one["first"], one["then"], _ends(one["concurrency"])] for one in read(file)["crossings"]]
    return markdown(["faster below", "faster above", "at concurrency"], 2, rows)


def _ends(one: dict[str, Any]) -> str:
    low, high = (one[name] if one[name] is not None else math.inf for name in ("low", "high"))
    return f"{one['value']:.1f} [{low:.1f}, {'∞' if math.isinf(high) else f'{high:.1f}'}]"


def capacity_table(file: str) -> str:
    """The highest load within the limits, and what users wait there."""
    heads = ["cell", "keeps the limits", "not told", "too much", "TTFT, ms", "TPOT, ms", "output tok/s"]
    return markdown(heads, 1, [_capacity(one) for one in read(file)["capacities"]])


def _capacity(one: dict[str, Any]) -> list[object]:
    kept = f"{one['kept']:g}" if one["kept"] else f"not even {one['within']['lowest']:g}"
    more = ", the highest tried" if one["kept"] == one["within"]["highest"] else ""
    unclear = ", ".join(f"{level:g}" for level in one["unclear"]) or "–"
    broken, at = f"{one['broken']:g}" if one["broken"] else "–", one["at"]
    waits = [f"{1000 * at[name]['value']:.0f}" if at and at[name] else "–" for name in ("ttft_seconds", "tpot_seconds")]
    rate = f"{at['output_tokens_per_second']['value']:.1f}" if at else "–"
    return [one["name"], kept + more, unclear, broken, *waits, rate]


def memory_table(file: str) -> str:
    """What takes memory, and how many users fit."""
    found = read(file)["footprints"]
    fits = [f"users of {one['context_tokens']} in {one['budget_bytes'] / GIB:g} GiB" for one in found[0]["fits"]]
    heads = ["cell", "peak, GiB", "weights, GiB", "other, GiB", "KV, KiB a token", "idle KV, GiB", *fits]
    return markdown(heads, 1, [_footprint(one) for one in found])


def _footprint(one: dict[str, Any]) -> list[object]:
    sizes = [f"{one[name] / GIB:.2f}" for name in ("peak_bytes", "weights_bytes", "other_bytes")]
    idle = f"{one['idle_bytes'] / GIB:.2f}" if one["idle_bytes"] is not None else "–"
    users = [fit["users"] if fit["users"] is not None else "–" for fit in one["fits"]]
    return [one["name"], *sizes, f"{one['kv_bytes_per_token'] / 1024:.1f}", idle, *users]


def roofline_table(file: str) -> str:
    """One request at a time against the memory's bandwidth."""
    heads = ["cell", "read a token, MB", "roofline, ms", "TPOT p50, ms", "of the roofline, %", "times faster", "ideal"]
    data = read(file)
    rows = [_roofline(one) for one in data["roofline"]]
    bandwidth = ", ".join(f"{one['bytes_per_second'] / 1e9:.1f} GB/s ({one['how']})" for one in data["bandwidth"])
    return f"{markdown(heads, 1, rows)}\n\nThe memory's bandwidth: {bandwidth}."


def _roofline(one: dict[str, Any]) -> list[object]:
    plain = [
        f"{one['weight_bytes'] / 1e6:.0f}" if one["weight_bytes"] else "–",
        f"{1000 * one['floor_seconds']:.2f}" if one["floor_seconds"] else "–",
    ]
    ideal = f"{one['ideal']:.2f}" if one["ideal"] else "–"
    return [
        one["name"], *plain, shown(one["tpot_seconds"], 1000), shown(one["share"], 100), shown(one["speedup"]), ideal,
    ]  # fmt: skip
