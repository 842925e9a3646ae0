"""The generated tables of the docs on loads and memory, from a run's `--json` output. Called by cog."""

from __future__ import annotations

import math
from typing import Any

from scripts.readme import markdown, read, shown

GIB = 1024**3


def rates_table(file: str) -> str:
    """Output tokens/s of each cell at each concurrency."""
    cells = [row for row in read(file)["cells"] if row["status"] == "ok"]
    loads = [load["load"]["concurrency"] for load in cells[0]["loads"] if load["load"]["concurrency"]]
    rows = [[row["cell"], *(shown(_at(row, at)["output_tokens_per_second"]) for at in loads)] for row in cells]
    return markdown(["cell", *(f"at {at}" for at in loads)], 1, rows)


def _at(row: dict[str, Any], concurrency: int) -> dict[str, Any]:
    load: dict[str, Any] = next(load for load in row["loads"] if load["load"]["concurrency"] == concurrency)
    return load


def fastest_table(file: str) -> str:
    """The best cell at each concurrency and those that cannot be told from it."""
    rows = [
        [winner["concurrency"], winner["name"], ", ".join(winner["near"]) or "–", shown(winner["rate"])]
        for winner in read(file)["fastest"]
    ]
    return markdown(["concurrency", "fastest", "not significantly different", "output tok/s"], 3, rows)


def crossings_table(file: str) -> str:
    """Where one cell overtakes another; ends of an interval beyond what was measured are unbounded."""
    rows = [
        [crossing["first"], crossing["then"], _ends(crossing["concurrency"])] for crossing in read(file)["crossings"]
    ]
    return markdown(["faster below", "faster above", "at concurrency"], 2, rows)


def _ends(interval: dict[str, Any]) -> str:
    low, high = (interval[name] if interval[name] is not None else math.inf for name in ("low", "high"))
    return f"{interval['value']:.1f} [{low:.1f}, {'∞' if math.isinf(high) else f'{high:.1f}'}]"


def capacity_table(file: str) -> str:
    """The highest load within the limits, and what users wait there."""
    heads = ["cell", "meets the SLO", "inconclusive", "violates it", "TTFT, ms", "TPOT, ms", "output tok/s"]
    return markdown(heads, 1, [_capacity(capacity) for capacity in read(file)["capacities"]])


def _capacity(capacity: dict[str, Any]) -> list[object]:
    met = f"{capacity['kept']:g}" if capacity["kept"] else f"not even {capacity['within']['lowest']:g}"
    more = ", the highest tried" if capacity["kept"] == capacity["within"]["highest"] else ""
    unclear = ", ".join(f"{level:g}" for level in capacity["unclear"]) or "–"
    broken, at = f"{capacity['broken']:g}" if capacity["broken"] else "–", capacity["at"]
    waits = [f"{1000 * at[name]['value']:.0f}" if at and at[name] else "–" for name in ("ttft_seconds", "tpot_seconds")]
    rate = f"{at['output_tokens_per_second']['value']:.1f}" if at else "–"
    return [capacity["name"], met + more, unclear, broken, *waits, rate]


def memory_table(file: str) -> str:
    """What takes memory, and how many users fit."""
    footprints = read(file)["footprints"]
    fits = [f"users of {fit['context_tokens']} in {fit['budget_bytes'] / GIB:g} GiB" for fit in footprints[0]["fits"]]
    heads = ["cell", "peak, GiB", "weights, GiB", "other, GiB", "KV, KiB a token", "idle KV, GiB", *fits]
    return markdown(heads, 1, [_footprint(footprint) for footprint in footprints])


def _footprint(footprint: dict[str, Any]) -> list[object]:
    sizes = [f"{footprint[name] / GIB:.2f}" for name in ("peak_bytes", "weights_bytes", "other_bytes")]
    idle = f"{footprint['idle_bytes'] / GIB:.2f}" if footprint["idle_bytes"] is not None else "–"
    users = [fit["users"] if fit["users"] is not None else "–" for fit in footprint["fits"]]
    return [footprint["name"], *sizes, f"{footprint['kv_bytes_per_token'] / 1024:.1f}", idle, *users]


def roofline_table(file: str) -> str:
    """One request at a time against the memory's bandwidth."""
    heads = ["cell", "read a token, MB", "roofline, ms", "TPOT p50, ms", "of the roofline, %", "times faster", "ideal"]
    data = read(file)
    rows = [_roofline(roofline) for roofline in data["roofline"]]
    bandwidth = ", ".join(
        f"{measured['bytes_per_second'] / 1e9:.1f} GB/s ({measured['how']})" for measured in data["bandwidth"]
    )
    return f"{markdown(heads, 1, rows)}\n\nThe memory's bandwidth: {bandwidth}."


def _roofline(row: dict[str, Any]) -> list[object]:
    plain = [
        f"{row['weight_bytes'] / 1e6:.0f}" if row["weight_bytes"] else "–",
        f"{1000 * row['floor_seconds']:.2f}" if row["floor_seconds"] else "–",
    ]
    ideal = f"{row['ideal']:.2f}" if row["ideal"] else "–"
    return [
        row["name"],
        *plain,
        shown(row["tpot_seconds"], 1000),
        shown(row["share"], 100),
        shown(row["speedup"]),
        ideal,
    ]
