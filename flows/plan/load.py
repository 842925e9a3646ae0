"""The parts of a plan that say under which load, and within which limits, a cell serves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Discriminator, Field, Tag, model_validator

from engines.runtime.own_packages import CONFIGS
from evals.load.traces import TraceRequest, known_share
from evals.schema.load import LoadPoint
from evals.schema.slo import SLO, SearchRange
from flows.plan.base import MOST, Part, Positive

MOST_REPEATS = 10
LEAST_OPEN_REQUESTS = 10  # fewer have no rate


class SizedPlan(Part):
    """Requests of exact token counts."""

    requests: Positive
    prompt_tokens: Positive
    output_tokens: Annotated[int, Field(ge=2, le=MOST)]


@cache
def workloads() -> dict[str, dict[str, Any]]:
    """What configs/workloads/ holds, by name."""
    files = sorted((CONFIGS / "workloads").glob("*.yaml"))
    return {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in files}


def _check_repeats(load: LoadPlan | TracePlan) -> None:
    if load.max_repeats is not None and load.target_relative_ci is None:
        raise ValueError("`max_repeats` needs `target_relative_ci`, the target width of the interval")


class LoadPlan(SizedPlan):
    """Requests with exact token counts: a closed loop, or an open load where users come whatever the server does.

    `concurrency` keeps that many in flight. `rate_per_second` sends them at their own times: `arrivals` are "poisson"
    (independent users, the default), "constant", or "gamma" with a coefficient of variation of `arrival_cv` (above
    1: bursts). Latencies of an open load count from when a request was due.

    `workload` takes what is not given here from configs/workloads/NAME.yaml. The first `shared_prefix_tokens` of all
    prompts are the same (a system prompt). `turns`: requests are turns of conversations, each with all before it in its
    prompt. `prompts`: a JSONL file with a "prompt" on each line, of which at most `prompt_tokens` are sent.
    `target_relative_ci: 0.05` repeats the load, at most `max_repeats` (10) times, until its output rate is known to
    ±5 %. Recorded arrivals are a TracePlan.
    """

    text_key: ClassVar[str] = "workload"

    workload: str | None = None
    shared_prefix_tokens: Annotated[int, Field(ge=0, le=MOST)] = 0
    turns: Positive = 1
    prompts: str | None = None
    target_relative_ci: Annotated[float, Field(gt=0, lt=1)] | None = None
    max_repeats: Annotated[int, Field(ge=2, le=100)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=1024)] | None = None
    rate_per_second: Annotated[float, Field(gt=0, le=1000)] | None = None
    arrivals: Literal["constant", "poisson", "gamma"] | None = None
    arrival_cv: Annotated[float, Field(gt=0, le=10)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_workload(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "workload" not in given:
            return given
        if given["workload"] not in workloads():
            raise ValueError(f"unknown workload '{given['workload']}'; known: {', '.join(workloads())}")
        known = dict(workloads()[given["workload"]])
        if "rate_per_second" in given:
            known.pop("concurrency", None)
        return {**known, **given}

    @model_validator(mode="after")
    def _same_requests(self) -> LoadPlan:
        _check_repeats(self)
        if self.shared_prefix_tokens >= self.prompt_tokens:
            raise ValueError(f"shared_prefix_tokens ({self.shared_prefix_tokens}) must be fewer than prompt_tokens")
        if self.requests % self.turns:
            raise ValueError(f"requests ({self.requests}) must be a multiple of turns ({self.turns})")
        if self.turns > 1 and self.rate_per_second is not None:
            raise ValueError("`turns` need `concurrency`, not `rate_per_second`: a turn waits for the previous answer")
        if self.prompts and (self.turns > 1 or self.shared_prefix_tokens):
            raise ValueError("`prompts` are sent as they are. Remove `turns` and `shared_prefix_tokens`")
        return self

    @model_validator(mode="after")
    def _one_kind(self) -> LoadPlan:
        if (self.concurrency is None) == (self.rate_per_second is None):
            raise ValueError("a load needs `concurrency` (a closed loop) or `rate_per_second` (an open one), not both")
        if self.rate_per_second is None and (self.arrivals or self.arrival_cv):
            raise ValueError("`arrivals` and `arrival_cv` belong to a load with `rate_per_second`")
        if (self.arrival_cv is not None) != (self.arrivals == "gamma"):
            raise ValueError("`arrivals: gamma` and `arrival_cv` belong together")
        if self.rate_per_second is not None and self.requests < LEAST_OPEN_REQUESTS:
            raise ValueError(
                f"requests ({self.requests}) are too few for an open load (at least {LEAST_OPEN_REQUESTS})"
            )
        if self.concurrency is not None and self.requests < self.concurrency * self.turns:
            raise ValueError(
                f"requests ({self.requests}) is less than concurrency ({self.concurrency}"
                f"{f' × {self.turns} turns' if self.turns > 1 else ''}): "
                f"the load would never be reached. Use at least {2 * self.concurrency * self.turns} requests"
            )
        return self

    @property
    def point(self) -> LoadPoint:
        arrivals = "closed" if self.rate_per_second is None else self.arrivals or "poisson"
        return LoadPoint(
            concurrency=self.concurrency,
            requests=self.requests,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            rate_per_second=self.rate_per_second,
            arrivals=arrivals,
            arrival_cv=self.arrival_cv or 1.0,
            workload=self.workload or "",
            shared_prefix_tokens=self.shared_prefix_tokens,
            turns=self.turns,
            prompts=self.prompts or "",
            target_relative_ci=self.target_relative_ci,
            max_repeats=(self.max_repeats or MOST_REPEATS) if self.target_relative_ci else 0,
        )


class TracePlan(Part):
    """An open load that was recorded: arrivals and token counts of each request are those of a file.

    `trace`: a JSONL file of Mooncake's form or a CSV of Azure's (`evals/load/traces.py`), beside the plan; `requests`
    uses that many from its start. `trace_speedup: 2` halves the time between them. With `hash_ids`, prompts
    share the tokens of equal ones; every repeat has the same arrivals and other tokens. Latencies count from when a
    request was due. `target_relative_ci` and `max_repeats` are those of other loads.
    """

    trace: Annotated[str, Field(min_length=1)]
    trace_speedup: Annotated[float, Field(ge=0.001, le=1000)] = 1.0
    requests: Annotated[int, Field(ge=LEAST_OPEN_REQUESTS, le=MOST)] | None = None
    target_relative_ci: Annotated[float, Field(gt=0, lt=1)] | None = None
    max_repeats: Annotated[int, Field(ge=2, le=100)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, given: Any) -> Any:
        if "trace" not in given:
            raise ValueError("`trace_speedup` belongs to a load with `trace`")
        others = [name for name in LoadPlan.model_fields if name in given and name not in cls.model_fields]
        if others:
            names = ", ".join(f"`{name}`" for name in others)
            raise ValueError(f"{names} cannot be combined with `trace`, which sets arrivals and token counts")
        return given

    @model_validator(mode="after")
    def _repeated(self) -> TracePlan:
        _check_repeats(self)
        return self

    def point(self, recorded: Sequence[TraceRequest]) -> LoadPoint:
        """The load of what was recorded, of which the first `requests` count. Their times must differ."""
        trace = recorded[: self.requests]
        seconds = (trace[-1].at_seconds - trace[0].at_seconds) / self.trace_speedup
        return LoadPoint(
            concurrency=None,
            requests=len(trace),
            prompt_tokens=max(request.prompt_tokens for request in trace),
            output_tokens=max(request.output_tokens for request in trace),
            rate_per_second=(len(trace) - 1) / seconds,
            arrivals="trace",
            target_relative_ci=self.target_relative_ci,
            max_repeats=(self.max_repeats or MOST_REPEATS) if self.target_relative_ci else 0,
            trace=self.trace,
            trace_speedup=self.trace_speedup,
            trace_known_share=known_share(trace),
        )


def _kind(given: Any) -> str:
    """Which of the two a load of a plan is meant to be."""
    return "TracePlan" if isinstance(given, dict) and given.keys() & {"trace", "trace_speedup"} else "LoadPlan"


AnyLoad = Annotated[Annotated[LoadPlan, Tag("LoadPlan")] | Annotated[TracePlan, Tag("TracePlan")], Discriminator(_kind)]


@cache
def presets() -> dict[str, dict[str, Any]]:
    """SLOs that others publish, by name."""
    known: dict[str, dict[str, Any]] = yaml.safe_load((CONFIGS / "slo.yaml").read_text(encoding="utf-8"))
    return known


class SLOPlan(Part):
    """The SLO: TTFT and TPOT in milliseconds, at a percentile of the requests.

    `preset` takes them from configs/slo.yaml (MLPerf's); what is given beside it counts instead.
    """

    text_key: ClassVar[str] = "preset"

    preset: str | None = None
    ttft_ms: Annotated[float, Field(gt=0, le=MOST)] | None = None
    tpot_ms: Annotated[float, Field(gt=0, le=MOST)] | None = None
    percentile: Annotated[float, Field(ge=50, lt=100)] | None = None

    @model_validator(mode="after")
    def _some_limit(self) -> SLOPlan:
        if self.preset is not None and self.preset not in presets():
            raise ValueError(f"unknown preset '{self.preset}'; known: {', '.join(presets())}")
        if self.preset is None and self.ttft_ms is None and self.tpot_ms is None:
            raise ValueError("an SLO needs `ttft_ms`, `tpot_ms` or a `preset`")
        return self

    @property
    def limits(self) -> SLO:
        known = presets()[self.preset] if self.preset else {}
        ttft_ms, tpot_ms = self.ttft_ms or known.get("ttft_ms"), self.tpot_ms or known.get("tpot_ms")
        percentile = self.percentile or known.get("percentile", 99.0)
        return SLO(ttft_ms and ttft_ms / 1000, tpot_ms and tpot_ms / 1000, float(percentile))


class SearchPlan(SizedPlan):
    """Looks for the highest load between `lowest` and `highest` at which the plan's `slo` is met.

    `over: concurrency` (users who each wait for their answer) or `over: rate` (independent users, requests per second).
    Of each load at least `requests` count (`evals/metrics/steady_state.py`) in each of `repeats` (at least 5), and all
    of them take about `level_seconds` or longer. Then its percentile is within the limits (95 % CI), beyond them, or
    neither. To be within takes at least 368 requests for the 99th percentile, 72 for the 95th, 36 for the 90th: a
    search with fewer in all its repeats is refused. The load found is tried again on a fresh server, in
    repeats of `level_seconds` each: only then is it called met.
    """

    over: Literal["concurrency", "rate"]
    lowest: Annotated[float, Field(gt=0, le=MOST)] = 1.0
    highest: Annotated[float, Field(gt=0, le=1024)]
    requests: Annotated[int, Field(ge=LEAST_OPEN_REQUESTS, le=MOST)]
    level_seconds: Annotated[float, Field(ge=0, le=3600)] = 60.0

    @model_validator(mode="after")
    def _a_range(self) -> SearchPlan:
        if self.lowest > self.highest:
            raise ValueError(f"lowest ({self.lowest:g}) is over highest ({self.highest:g})")
        if self.over == "concurrency" and not (self.lowest.is_integer() and self.highest.is_integer()):
            raise ValueError("a concurrency is a whole number: `lowest` and `highest` must be")
        return self

    @property
    def range(self) -> SearchRange:
        counts = self.requests, self.prompt_tokens, self.output_tokens
        return SearchRange(self.over, self.lowest, self.highest, *counts, self.level_seconds)
