"""Whether what a plan sends fits: prompts and traces that can be read, requests and windows that the models take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evals.accuracy.corpora import WIKITEXT, read_prompts
from evals.accuracy.lm_eval_tasks import DataError
from evals.load.traces import TraceRequest, read_trace
from flows.plan.load import LEAST_OPEN_REQUESTS, LoadPlan, TracePlan
from flows.plan.schema import Plan
from flows.plan.source import Path_, PlanFile, Problem
from flows.sources.models import ModelFacts

TRACE_FORMS = "give a JSONL trace of Mooncake's form or a CSV of Azure's: README.md, Load and memory"


def prompts_problems(parsed: PlanFile, base: Path) -> Iterator[Problem]:
    closeness = [("closeness", i, one.prompts) for i, one in enumerate(parsed.plan.closeness)]
    given = enumerate(parsed.plan.load)
    loads = [("load", i, one.prompts) for i, one in given if isinstance(one, LoadPlan) and one.prompts]
    for part, index, name in (*(one for one in closeness if one[2] != WIKITEXT), *loads):
        try:
            read_prompts((base / name).resolve())
        except DataError as error:
            either = "`wikitext2`, or " if part == "closeness" else ""
            fix = f'give {either}a JSONL file with a "prompt" on each line'
            yield parsed.problem((part, index, "prompts"), str(error), fix)


def read_traces(parsed: PlanFile, base: Path, problems: list[Problem]) -> dict[str, Sequence[TraceRequest]]:
    """What the loads' traces hold, as much of each as the longest load wants; what is wrong is added to `problems`."""
    found: dict[str, Sequence[TraceRequest]] = {}
    for index, one in enumerate(parsed.plan.load):
        if not isinstance(one, TracePlan):
            continue
        file, where = (base / one.trace).resolve(), ("load", index, "trace")
        try:
            trace = read_trace(file, one.requests)
        except DataError as error:
            problems.append(parsed.problem(where, str(error), TRACE_FORMS))
            continue
        least = one.requests or LEAST_OPEN_REQUESTS
        if len(trace) < least:
            what = f"{file} has {len(trace)} requests, fewer than {least}"
            problems.append(parsed.problem(where, what, f"give a longer trace, or `requests` of {len(trace)} at most"))
        elif trace[-1].at_seconds == trace[0].at_seconds:
            what = f"the {len(trace)} requests of {file} all came at once: they have no rate"
            problems.append(parsed.problem(where, what, "take more of its requests"))
        found[one.trace] = max(found.get(one.trace, ()), trace, key=len)
    return found


def request_tokens(plan: Plan, traces: Mapping[str, Sequence[TraceRequest]]) -> Iterator[tuple[Path_, str, int]]:
    """Tokens, prompt and answer, of the longest request of each load and search, with its place."""
    for index, one in enumerate(plan.load):
        if isinstance(one, LoadPlan):
            yield ("load", index), "", one.point.longest_tokens
        elif one.trace in traces:
            longest = max(traces[one.trace][: one.requests], key=lambda request: request.tokens)
            yield ("load", index, "trace"), f"{one.trace}:{longest.line}: ", longest.tokens
    for index, search in enumerate(plan.search):
        yield ("search", index), "", search.prompt_tokens + search.output_tokens


def window_problems(
    parsed: PlanFile, models: Sequence[ModelFacts], traces: Mapping[str, Sequence[TraceRequest]]
) -> Iterator[Problem]:
    plan = parsed.plan
    windows: list[tuple[Path_, int]] = [(("window_tokens",), plan.window_tokens)]
    windows += [(("perplexity", i, "window_tokens"), one.window) for i, one in enumerate(plan.perplexity)]
    for where, tokens in windows:
        for model in models:
            if model.max_positions is not None and tokens + 2 > model.max_positions:
                what = (
                    f"a window of {tokens} tokens does not fit {model.name}, which has {model.max_positions} positions"
                )
                yield parsed.problem(where, what, f"use at most {model.max_positions - 2}")
    for place, line, tokens in request_tokens(plan, traces):
        for model in models:
            if model.max_positions is not None and tokens > model.max_positions:
                what = f"{line}{tokens} tokens do not fit {model.name}, which has {model.max_positions} positions"
                yield parsed.problem(place, what, f"use at most {model.max_positions} together")
