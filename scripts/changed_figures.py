"""The tables of docs/reference/changed-figures.md: published figures before the defects of the statistics were mended,
and after. Called by cog.

Where a run's raw samples are kept, its report is made again; of summaries, what follows from their own figures.
"""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from evals.schema.accuracy import Score
from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from reports.decision.results import Results, read_results
from reports.metrics.needed_memory import needed_memory
from reports.metrics.task_accuracy import recovery
from scripts.readme import ROOT, shown

RAW = "evidence/frontier-cpu-2026-11-22.tar.xz"
BEFORE = "evidence/frontier-cpu-2026-11-22-before.json"
SUMMARIES_OF_LOADS = ("evidence/load-cpu-2026-11-22.json",)
SUMMARIES_OF_ONE_TASK = (
    "evidence/engines-cpu-2026-11-21.json",
    "evidence/tools-cpu-2026-11-21.json",
    "evidence/load-cpu-2026-11-22.json",
)
GIB = 1024**3


def _read(file: str) -> Any:
    return json.loads((ROOT / file).read_text(encoding="utf-8"))


@cache
def _results() -> Results:
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(ROOT / RAW) as packed:
            packed.extractall(folder, filter="data")
        return read_results(Path(folder))


def _table(heads: str, rows: list[list[str]]) -> str:
    columns = heads.count("|") + 1
    lines = [f"| {heads} |", "|" + "---|" * columns, *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def _plain(estimate: Estimate | None) -> dict[str, float] | None:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high} if estimate else None


def _before(name: str) -> str:
    """A cell's name as it was before names said in which type a cell computes."""
    return re.sub(r",? in \w*float\d+$", "", name)


def verdicts_of_the_raw_run() -> str:
    """Verdict and accuracy recovered of each quantized cell, and the answer."""
    before, results = _read(BEFORE), _results()
    old = {row["cell"]: row for row in before["cells"]}
    rows = []
    for judged in results.judged:
        name, quality = judged.cell.trial.name, results.direct.get(judged.cell.trial.key)
        direct = quality.quality.recovery if quality else judged.cell.recovery
        if not judged.cell.is_baseline:
            then = old[_before(name)]
            figures = [then["accuracy_recovery"], _plain(judged.cell.recovery), _plain(direct)]
            rows.append([name, then["verdict"], judged.verdict, *(shown(figure) for figure in figures)])
    chosen = results.answer.chosen
    answer = chosen.cell.trial.name if chosen else "none"
    heads = "cell | verdict before | after | recovered before | after, of its own baseline | after, of the reference"
    return f"{_table(heads, rows)}\n\nThe answer was `{before['answer']}` and is `{answer}`."


def rates_of_the_raw_run() -> str:
    """Requests/s and output tokens/s at the highest concurrency, and memory."""
    old = {row["cell"]: row for row in _read(BEFORE)["cells"]}
    rows = []
    for cell in _results().cells:
        row, busiest, needed = old[_before(cell.trial.name)], cell.busiest, needed_memory(cell.trial)
        place = cell.loads.index(busiest)
        requests = row["loads"][place]["requests_per_second"], _plain(busiest.request_rate)
        rates = row["output_tokens_per_second"], _plain(busiest.output_rate)
        peak = f"{row['peak_memory_bytes'] / GIB:.2f}"
        rows.append(
            [
                cell.trial.name,
                *map(shown, requests),
                _percent(requests[0]["value"], busiest.request_rate.value),
                *map(shown, rates),
                peak,
                f"{needed.gib.value:.2f}" if needed else "–",
            ]
        )
    heads = "cell | requests/s before | after | change | output tokens/s before | after | peak GiB | needed GiB"
    return _table(heads, rows)


def probabilities_of_the_raw_run() -> str:
    """Of being Pareto-optimal, where it moved by a point and more."""
    before = _read(BEFORE)["odds"]
    rows = []
    for frontier in _results().frontiers:
        for standing in frontier.standings:
            old, new = before[frontier.plot.title].get(_before(standing.name)), standing.odds
            if old is not None and new is not None and abs(old - new) >= 0.01:
                rows.append([frontier.plot.title, standing.name, f"{100 * old:.1f} %", f"{100 * new:.1f} %"])
    return _table("frontier | cell | before | after", rows)


def requests_of_summaries() -> str:
    """Of closed loads with several users: requests/s = output tokens/s ÷ the tokens of each answer."""
    rows = []
    for file in SUMMARIES_OF_LOADS:
        for row in _read(file)["cells"]:
            for point in row.get("loads", []):
                load, old = point["load"], point["requests_per_second"]["value"]
                if (load["concurrency"] or 0) > 1:
                    new = point["output_tokens_per_second"]["value"] / load["output_tokens"]
                    at = f"{row['cell']}, {load['concurrency']} users"
                    rows.append([f"`{file}`", at, f"{old:.3g}", f"{new:.3g}", _percent(old, new)])
    return _table("summary | cell and load | before | after | change", rows)


def recoveries_of_summaries() -> str:
    """Of plans with one task, recomputed from the counts of flips."""
    rows = []
    for file in SUMMARIES_OF_ONE_TASK:
        data = _read(file)
        cells = {row["cell"]: row for row in data["cells"]}
        for flip in data["flips"]:
            row, base = cells[flip["name"]], cells[flip["reference"]]
            new = recovery_from_counts(base["mean_accuracy"]["value"], flip["paired"])
            limits = data["sweep"]["limits"]
            verdict = _verdict(new, row["perplexity_ratio"], limits)
            old = shown(row["accuracy_recovery"])
            rows.append([f"`{file}`", flip["name"], old, shown(_plain(new)), row["verdict"], verdict])
    return _table("summary | cell | recovered before | after | verdict before | after", rows)


def recovery_from_counts(accuracy: float, paired: dict[str, Any]) -> Estimate:
    """Accuracy recovered by the present rules, where `lost` and `gained` of `items` independent ones flipped."""
    items, lost, gained = (int(paired[name]) for name in ("items", "lost", "gained"))
    right = round(accuracy * items)
    base = [1.0] * right + [0.0] * (items - right)
    cell = [0.0] * lost + [1.0] * (right - lost + gained) + [0.0] * (items - right - gained)
    recovered = recovery(*(_trial(values) for values in (cell, base)))
    assert recovered is not None  # the baseline has something right
    return recovered


def _trial(values: list[float]) -> Trial:
    keys, rows = tuple(map(str, range(len(values)))), tuple((value,) for value in values)
    score = Score("task", "task", 0, ("acc",), keys, rows, rows)
    return Trial("", "ok", "", "", "", "", "", "", None, scores=(score,))


def _verdict(recovered: Estimate, ratio: dict[str, float] | None, limits: dict[str, float]) -> str:
    least, most = limits["accuracy_recovery"], limits["perplexity_ratio"]
    if recovered.high < least or (ratio and ratio["low"] > most):
        return "fails"
    return "meets" if recovered.low >= least and (not ratio or ratio["high"] <= most) else "inconclusive"


def _percent(old: float, new: float) -> str:
    return f"{100 * (new / old - 1):+.0f} %"


def every_table() -> Iterator[tuple[str, str]]:
    """By name, for a look at all of them: `python -m scripts.changed_figures`."""
    for table in (
        verdicts_of_the_raw_run,
        rates_of_the_raw_run,
        probabilities_of_the_raw_run,
        requests_of_summaries,
        recoveries_of_summaries,
    ):
        yield table.__name__, table()


if __name__ == "__main__":
    for name, text in every_table():
        print(f"\n{name}\n{text}")
