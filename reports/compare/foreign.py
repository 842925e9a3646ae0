"""Results of other tools held against a cell: `vllm bench serve`, GuideLLM and lm-eval, as their JSON files have them.

They hold one run and few intervals, so that what is said of them rests on our own intervals, and says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from evals.stats.intervals import Estimate
from quant.canonical_json import read_regular
from quant.errors import reading
from reports.compare.checks import Check, State, shown, side, worst
from reports.compare.foreign_types import Foreign, ForeignLoad, ForeignScore, Unreadable
from reports.compare.guidellm import read_guidellm
from reports.compare.lm_eval import read_lm_eval
from reports.compare.runs import CellComparison, Comparison, NotComparable
from reports.compare.vllm_bench import read_vllm_bench
from reports.decision.results import Results
from reports.metrics.cell import CellMetrics, TaskMetrics
from reports.metrics.load import LoadMetrics

NEAR = 0.1  # by how much token counts may differ: ours are exact, theirs are means


ACCEPTED = "Give a run's folder, or the JSON of `vllm bench serve --save-result`, GuideLLM or lm-eval"
Z = 1.959964
FOREIGN = TypeAdapter(Foreign)


def read_foreign(file: Path) -> Foreign:
    """Read a result of `vllm bench serve --save-result`, of GuideLLM or of lm-eval. Raises Unreadable."""
    with reading(file, Unreadable, ACCEPTED, "not as the tool writes it"):
        raw = json.loads(read_regular(file))  # of any UTF, with or without a byte order mark
        for key, read in READERS.items():
            if isinstance(raw, dict) and key in raw:
                return FOREIGN.validate_python(asdict(read(raw)))
    raise Unreadable(f"{file}: no result of vllm bench serve, GuideLLM or lm-eval. {ACCEPTED}")


READERS: Mapping[str, Callable[[Mapping[str, Any]], Foreign]] = {  # by a key that each of them alone has
    "output_throughput": read_vllm_bench,
    "benchmarks": read_guidellm,
    "results": read_lm_eval,
}


def compare_foreign(before: Path, after: Results, cell: str | None, *, speed_margin: float) -> Comparison:
    """One cell, by its name in tables, against what another tool measured. Raises NotComparable, Unreadable."""
    foreign, matching = read_foreign(before), _cell(after, cell)
    margin = after.limits.equivalence_margin
    checks = [check for load in foreign.loads for check in _loads(foreign.tool, load, matching, speed_margin)]
    checks += [_score(score, matching.tasks, margin) for score in foreign.scores]
    changes = (f"by {foreign.tool}: {foreign.model or 'no model named'} → {matching.trial.model}",)
    compared = CellComparison(matching.trial.name, matching.trial.model, worst(checks), tuple(checks), ())
    return Comparison(f"{foreign.tool} ({before.name})", after.about["name"], changes, (compared,), (), ())


def _cell(after: Results, name: str | None) -> CellMetrics:
    names = [cell.trial.name for cell in after.cells]
    wanted = name if name is not None else names[0] if len(names) == 1 else None
    match = next((cell for cell in after.cells if cell.trial.name == wanted), None)
    if match is None:
        asked = "no cell given. Name one with --cell" if name is None else f"there is no measured cell '{name}'"
        raise NotComparable(f"{asked}: {'; '.join(names) or 'none was measured'}")
    return match


def _loads(tool: str, theirs: ForeignLoad, cell: CellMetrics, margin: float) -> Iterator[Check]:
    ours = next((load for load in cell.loads if _alike(theirs, load)), None)
    if ours is None:
        yield Check(f"speed at {theirs.label}", "NOT COMPARED", "the run has no such load")
        return
    ratio = ours.output_rate.map(lambda value: value / theirs.output_rate)
    note = f"times the {theirs.output_rate:.4g} of one run of {tool}"
    yield Check(f"output tokens/s at {theirs.label}", side(ratio, 1 - margin), f"{shown(ratio)} {note}")
    waits = (("TTFT", theirs.ttft_seconds, ours.latency.ttft), ("TPOT", theirs.tpot_seconds, ours.latency.tpot))
    for name, seconds, estimates in waits:
        if seconds and estimates:
            wait = replace(
                estimates[0],
                value=estimates[0].value / seconds,
                low=estimates[0].low / seconds,
                high=estimates[0].high / seconds,
            )
            text = f"{shown(wait)} times the {1000 * seconds:.4g} ms of one run of {tool}"
            most = 1 + margin
            state: State = "PASS" if wait.high <= most else "REGRESSION" if wait.low > most else "INCONCLUSIVE"
            yield Check(f"median {name} at {theirs.label}", state, text)


def _alike(theirs: ForeignLoad, ours: LoadMetrics) -> bool:
    load = ours.load
    if theirs.concurrency is not None:
        same = load.concurrency == theirs.concurrency
    else:
        same = load.rate_per_second is not None and _near(load.rate_per_second, theirs.rate_per_second or 0.0)
    return same and _near(load.prompt_tokens, theirs.prompt_tokens) and _near(load.output_tokens, theirs.output_tokens)


def _near(first: float, other: float) -> bool:
    return abs(first - other) <= NEAR * first


def _score(theirs: ForeignScore, tasks: Sequence[TaskMetrics], margin: float) -> Check:
    """By the difference of two shares, as of other items: of the same ones it is known better than this says."""
    title = f"{theirs.task}, {theirs.metric}"
    ours = next((task for task in tasks if task.task == theirs.task and task.is_accuracy), None)
    if ours is None:
        return Check(title, "NOT COMPARED", "the run has no such task")
    if theirs.items is not None and theirs.items != ours.estimate.count:
        text = f"of {theirs.items} items, and here of {ours.estimate.count}: the questions differ"
        return Check(title, "NOT COMPARED", text)
    own = (ours.estimate.high - ours.estimate.low) / (2 * Z)
    half = Z * math.hypot(own, theirs.error or 0.0)
    gap = ours.estimate.value - theirs.value
    difference = Estimate(100 * gap, 100 * (gap - half), 100 * (gap + half), ours.estimate.count)
    return Check(title, side(difference, -100 * margin * theirs.value), f"{shown(difference)} points more")
