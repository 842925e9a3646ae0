"""Results of other tools held against a cell: `vllm bench serve`, GuideLLM and lm-eval, as their JSON files have them.

They hold one run and few intervals, so that what is said of them rests on our own intervals, and says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals.items import ACCURACY_METRICS
from evals.statistics import Estimate
from quant.told import Told
from reports.compare import CellComparison, Check, Comparison, NotComparable, State, shown, side, worst
from reports.loads import LoadMetrics
from reports.metrics import CellMetrics, TaskMetrics
from reports.results import Results

NEAR = 0.1  # by how much token counts may differ: ours are exact, theirs are means
Z = 1.959964


class Unreadable(Told):
    """Not a result of a tool that is known here."""

    exit_code = 2


@dataclass(frozen=True)
class ForeignLoad:
    """One load: closed (`concurrency`) or open (`rate_per_second`), mean token counts, output tokens/s over all of it,
    medians in seconds. TPOT is without the first token.
    """

    concurrency: int | None
    rate_per_second: float | None
    prompt_tokens: float
    output_tokens: float
    output_rate: float
    ttft_seconds: float | None
    tpot_seconds: float | None

    @property
    def label(self) -> str:
        load = f"concurrency {self.concurrency}" if self.concurrency else f"{self.rate_per_second:g} requests/s"
        return f"{load}, about {self.prompt_tokens:.0f} / {self.output_tokens:.0f} tokens"


@dataclass(frozen=True)
class ForeignScore:
    """Accuracy on one task over so many items, with its standard error where it is told."""

    task: str
    metric: str
    value: float
    error: float | None
    items: int | None


@dataclass(frozen=True)
class Foreign:
    """What one file of `tool` tells."""

    tool: str
    model: str
    loads: tuple[ForeignLoad, ...] = ()
    scores: tuple[ForeignScore, ...] = ()


def read_foreign(file: Path) -> Foreign:
    """Read a result of `vllm bench serve --save-result`, of GuideLLM or of lm-eval. Raises Unreadable."""
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        for key, read in READERS.items():
            if isinstance(raw, dict) and key in raw:
                return read(raw)
    except (ValueError, LookupError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise Unreadable(f"{file}: not as the tool writes it ({type(error).__name__}: {error})") from error
    raise Unreadable(f"{file}: no result of vllm bench serve, GuideLLM or lm-eval")


def _vllm(raw: Mapping[str, Any]) -> Foreign:
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


def _guidellm(raw: Mapping[str, Any]) -> Foreign:
    loads = tuple(_guidellm_load(one) for one in raw["benchmarks"])
    backend = raw["benchmarks"][0]["config"].get("backend") or {}
    return Foreign("GuideLLM", str(backend.get("model") or ""), loads)


def _guidellm_load(one: Mapping[str, Any]) -> ForeignLoad:
    strategy, metrics = one["config"]["strategy"], one["metrics"]
    kind = strategy["type_"]
    users = 1 if kind == "synchronous" else strategy.get("streams") if kind == "concurrent" else None

    def told(name: str, figure: str) -> float:
        return float(metrics[name]["successful"][figure])

    return ForeignLoad(
        concurrency=users,
        rate_per_second=None if users else strategy.get("rate") or told("requests_per_second", "mean"),
        prompt_tokens=told("prompt_token_count", "mean"),
        output_tokens=told("output_token_count", "mean"),
        output_rate=told("output_tokens_per_second", "mean"),
        ttft_seconds=told("time_to_first_token_ms", "median") / 1000,
        tpot_seconds=told("inter_token_latency_ms", "median") / 1000,  # its own TPOT has the first token in it
    )


def _lm_eval(raw: Mapping[str, Any]) -> Foreign:
    counts = raw.get("n-samples") or {}
    scores = [_lm_eval_score(task, told, counts.get(task)) for task, told in raw["results"].items()]
    model = (raw.get("config") or {}).get("model_args") or raw.get("model_name") or ""
    return Foreign("lm-eval", str(model), scores=tuple(one for one in scores if one is not None))


def _lm_eval_score(task: str, told: Mapping[str, Any], counts: Mapping[str, int] | None) -> ForeignScore | None:
    """Its headline metric, the one that we show too; keys are `acc_norm,none` and `acc_norm_stderr,none`."""
    for metric in ACCURACY_METRICS:
        key = next((key for key in told if key.startswith(f"{metric},")), None)
        if key is not None:
            error = told.get(key.replace(",", "_stderr,", 1))
            items = counts.get("effective") if counts else None
            return ForeignScore(
                task, metric, float(told[key]), error if isinstance(error, (int, float)) else None, items
            )
    return None


READERS: Mapping[str, Callable[[Mapping[str, Any]], Foreign]] = {  # by a key that each of them alone has
    "output_throughput": _vllm,
    "benchmarks": _guidellm,
    "results": _lm_eval,
}


def compare_foreign(before: Path, after: Results, cell: str | None, *, speed_margin: float) -> Comparison:
    """One cell, by its name in tables, against what another tool measured. Raises NotComparable, Unreadable."""
    told, one = read_foreign(before), _cell(after, cell)
    margin = after.limits.equivalence_margin
    checks = [check for load in told.loads for check in _loads(told.tool, load, one, speed_margin)]
    checks += [_score(score, one.tasks, margin) for score in told.scores]
    changes = (f"by {told.tool}: {told.model or 'no model named'} → {one.trial.model}",)
    compared = CellComparison(one.trial.name, one.trial.model, worst(checks), tuple(checks), ())
    return Comparison(f"{told.tool} ({before.name})", after.about["name"], changes, (compared,), (), ())


def _cell(after: Results, name: str | None) -> CellMetrics:
    names = [one.trial.name for one in after.cells]
    wanted = name if name is not None else names[0] if len(names) == 1 else None
    found = next((one for one in after.cells if one.trial.name == wanted), None)
    if found is None:
        asked = "say which cell it is of, with --cell" if name is None else f"there is no measured cell '{name}'"
        raise NotComparable(f"{asked}: {'; '.join(names) or 'none was measured'}")
    return found


def _loads(tool: str, theirs: ForeignLoad, cell: CellMetrics, margin: float) -> Iterator[Check]:
    ours = next((one for one in cell.loads if _alike(theirs, one)), None)
    if ours is None:
        yield Check(f"speed at {theirs.label}", "NOT COMPARED", "the run has no such load")
        return
    ratio = ours.output_rate.map(lambda value: value / theirs.output_rate)
    note = f"times the {theirs.output_rate:.4g} of one run of {tool}"
    yield Check(f"output tokens/s at {theirs.label}", side(ratio, 1 - margin), f"{shown(ratio)} {note}")
    waits = (("TTFT", theirs.ttft_seconds, ours.latency.ttft), ("TPOT", theirs.tpot_seconds, ours.latency.tpot))
    for name, seconds, found in waits:
        if seconds and found:
            wait = replace(
                found[0], value=found[0].value / seconds, low=found[0].low / seconds, high=found[0].high / seconds
            )
            text = f"{shown(wait)} times the {1000 * seconds:.4g} ms of one run of {tool}"
            yield Check(f"median {name} at {theirs.label}", _slower(wait, 1 + margin), text)


def _alike(theirs: ForeignLoad, ours: LoadMetrics) -> bool:
    load = ours.load
    if theirs.concurrency is not None:
        same = load.concurrency == theirs.concurrency
    else:
        same = load.rate_per_second is not None and _near(load.rate_per_second, theirs.rate_per_second or 0.0)
    return same and _near(load.prompt_tokens, theirs.prompt_tokens) and _near(load.output_tokens, theirs.output_tokens)


def _near(one: float, other: float) -> bool:
    return abs(one - other) <= NEAR * one


def _slower(ratio: Estimate, most: float) -> State:
    return "PASS" if ratio.high <= most else "REGRESSION" if ratio.low > most else "INCONCLUSIVE"


def _score(theirs: ForeignScore, tasks: Sequence[TaskMetrics], margin: float) -> Check:
    """By the difference of two shares, as of other items: of the same ones it is known better than this says."""
    what = f"{theirs.task}, {theirs.metric}"
    ours = next((one for one in tasks if one.task == theirs.task and one.is_accuracy), None)
    if ours is None:
        return Check(what, "NOT COMPARED", "the run has no such task")
    if theirs.items is not None and theirs.items != ours.estimate.count:
        text = f"of {theirs.items} items, and here of {ours.estimate.count}: other questions"
        return Check(what, "NOT COMPARED", text)
    own = (ours.estimate.high - ours.estimate.low) / (2 * Z)
    half = Z * math.hypot(own, theirs.error or 0.0)
    gap = ours.estimate.value - theirs.value
    difference = Estimate(100 * gap, 100 * (gap - half), 100 * (gap + half), ours.estimate.count)
    return Check(what, side(difference, -100 * margin * theirs.value), f"{shown(difference)} points more")
