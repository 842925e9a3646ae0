"""Whether what a plan sends fits: prompts and traces that can be read, requests and windows that the models take."""

from __future__ import annotations

import math
import resource
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from engines.batching import OPTIONS as BATCH_OPTIONS
from engines.types import Device
from evals.data.corpora import WIKITEXT, read_prompts
from evals.data.local_root import DataError
from evals.load.traces import TraceRequest, read_trace
from evals.schema.slo import LEAST_REPEATS
from evals.schema.trial_file import MOST_RESULT_BYTES
from evals.stats.intervals import least_count
from flows.plan.load import LEAST_OPEN_REQUESTS, LoadPlan, TracePlan
from flows.plan.schema import Plan
from flows.plan.source import Path_, PlanFile, Problem
from flows.sources.model_facts import ModelFacts
from flows.validate.matrix import EngineChoice
from quant.canonical_json import named_path
from quant.errors import counted

TOKEN_BYTES = 28  # of a token that comes alone, in a result: of the 60,182 of a trial in evidence/gpu-h100-2026-11-27
SPARE_FILES = 128  # of a process beside its connections: libraries, logs, pipes
TRACE_FORMS = "give a JSONL trace of Mooncake's form or a CSV of Azure's: docs/how-to/loads.md"


def prompts_problems(parsed: PlanFile, base: Path) -> Iterator[Problem]:
    divergences = [
        ("kl_divergence", i, divergence_plan.prompts) for i, divergence_plan in enumerate(parsed.plan.kl_divergence)
    ]
    given = enumerate(parsed.plan.load)
    loads = [
        ("load", i, load_plan.prompts)
        for i, load_plan in given
        if isinstance(load_plan, LoadPlan) and load_plan.prompts
    ]
    for part, index, name in (*(entry for entry in divergences if entry[2] != WIKITEXT), *loads):
        try:
            read_prompts(named_path(base, name))
        except DataError as error:
            either = "`wikitext2`, or " if part == "kl_divergence" else ""
            fix = f'give {either}a JSONL file with a "prompt" on each line'
            yield parsed.problem((part, index, "prompts"), str(error), fix)


def read_traces(parsed: PlanFile, base: Path, problems: list[Problem]) -> dict[str, Sequence[TraceRequest]]:
    """What the loads' traces hold, as much of each as the longest load wants; what is wrong is added to `problems`."""
    traces: dict[str, Sequence[TraceRequest]] = {}
    for index, entry in enumerate(parsed.plan.load):
        if not isinstance(entry, TracePlan):
            continue
        file, where = named_path(base, entry.trace), ("load", index, "trace")
        try:
            trace = read_trace(file, entry.requests)
        except DataError as error:
            problems.append(parsed.problem(where, str(error), TRACE_FORMS))
            continue
        least = entry.requests or LEAST_OPEN_REQUESTS
        if len(trace) < least:
            message = f"{file} has {counted(len(trace), 'request')}, fewer than {least}"
            problems.append(
                parsed.problem(where, message, f"give a longer trace, or `requests` of {len(trace)} at most")
            )
        elif trace[-1].at_seconds == trace[0].at_seconds:
            message = f"all {len(trace)} requests of {file} have the same time: they have no rate"
            problems.append(parsed.problem(where, message, "use more of its requests"))
        traces[entry.trace] = max(traces.get(entry.trace, ()), trace, key=len)
    return traces


def request_tokens(plan: Plan, traces: Mapping[str, Sequence[TraceRequest]]) -> Iterator[tuple[Path_, str, int]]:
    """Tokens, prompt and answer, of the longest request of each load and search, with its place."""
    for index, entry in enumerate(plan.load):
        if isinstance(entry, LoadPlan):
            yield ("load", index), "", entry.point.longest_tokens
        elif entry.trace in traces:
            longest = max(traces[entry.trace][: entry.requests], key=lambda request: request.tokens)
            yield ("load", index, "trace"), f"{entry.trace}:{longest.line}: ", longest.tokens
    for index, search in enumerate(plan.search):
        yield ("search", index), "", search.prompt_tokens + search.output_tokens


def longest_text(plan: Plan, traces: Mapping[str, Sequence[TraceRequest]], gate_tokens: int) -> int:
    """Tokens of the longest text that a model computes: a window, a request, a prompt and its answer, a gate's."""
    windows = [plan.max_length, *(perplexity_plan.window for perplexity_plan in plan.perplexity)]
    divergences = [entry.length + entry.answer_tokens for entry in plan.kl_divergence]
    return max(gate_tokens, *windows, *divergences, *(tokens for *_, tokens in request_tokens(plan, traces)))


def slo_problems(parsed: PlanFile) -> Iterator[Problem]:
    """Searches that cannot succeed, and an SLO that no load can be known to meet: so few requests that the percentile's
    interval has no upper end.
    """
    plan = parsed.plan
    if plan.slo is None:
        return
    percentile, repeats = plan.slo.limits.percentile, max(plan.repeats, LEAST_REPEATS)
    needed = least_count(percentile)
    for index, search in enumerate(plan.search):
        if search.requests * repeats < needed:
            message = (
                f"{search.requests} requests × {repeats} repeats cannot show that percentile {percentile:g} is within "
                f"a limit: this needs {needed} requests"
            )
            fix = f"use `requests` of at least {math.ceil(needed / repeats)}, or a lower `percentile`"
            yield parsed.problem(("search", index, "requests"), message, fix)
    visits = plan.race.rounds if plan.race else 1
    counts = [(entry.requests or math.inf) * max(plan.repeats, entry.max_repeats or 0) * visits for entry in plan.load]
    most = max(counts, default=math.inf)  # a trace may hold any number
    if not plan.search and most < needed:
        message = (
            f"no load can show that percentile {percentile:g} is within a limit: this needs {needed} requests, and the "
            f"largest load has {most:g} in all its repeats{' and rounds' if plan.race else ''}"
        )
        fewest = math.ceil(needed / (plan.repeats * visits))
        fix = f"use `requests` of at least {fewest} in some load, or a lower `percentile`"
        yield parsed.problem(("slo",), message, fix)


def open_file_problems(parsed: PlanFile) -> Iterator[Problem]:
    """Closed loads that take more connections than this process may have open files, by its hard limit.

    Up to there the soft limit, which is often 1,024, is raised for this process and its servers.
    """
    loads = list(enumerate(entry for entry in parsed.plan.load if isinstance(entry, LoadPlan)))
    searches = [(i, search) for i, search in enumerate(parsed.plan.search) if search.over == "concurrency"]
    closed: list[tuple[Path_, int]] = [(("load", i, "concurrency"), entry.concurrency or 0) for i, entry in loads]
    closed += [(("search", i, "highest"), int(search.highest)) for i, search in searches]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max([0, *(entry.requests for _, entry in loads if entry.concurrency is None), *(n for _, n in closed)])
    allowed = math.inf if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < most + SPARE_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(min(most + SPARE_FILES, allowed)), hard))
    for where, connections in closed:
        if connections + SPARE_FILES > allowed:
            message = f"{connections} connections and {SPARE_FILES} other files are over this process's hard limit"
            fix = f"raise it (`ulimit -Hn`, LimitNOFILE), or use at most {max(hard - SPARE_FILES, 0)}"
            yield parsed.problem(where, f"{message} of {hard} open files", fix)


def queue_warnings(plan: Plan, choices: Iterable[EngineChoice], device: Device) -> Iterator[str]:
    """A sentence for each engine that computes fewer requests at once than a closed load keeps in flight."""
    closed = [entry.point.concurrency or 0 for entry in plan.load if isinstance(entry, LoadPlan)]
    closed += [int(search.highest) for search in plan.search if search.over == "concurrency"]
    most = max(closed, default=0)
    for choice in choices:
        batch = None if choice.attached else choice.engine.batches(choice.options, device)
        if batch is not None and most > batch:
            name = next((name for name in BATCH_OPTIONS if name in choice.options), "its batch")
            yield (
                f"{choice.engine.name} {choice.label}".strip()
                + f" computes {batch} requests at once, and a load keeps "
                f"{most} in flight: the rest wait in its queue. Raise `{name}`, or lower `concurrency`"
            )


def size_warnings(plan: Plan, traces: Mapping[str, Sequence[TraceRequest]]) -> Iterator[str]:
    """A sentence where a cell's result may be larger than what is read again: every token's arrival is in it."""
    tokens = 0
    for entry in plan.load:
        if isinstance(entry, LoadPlan):
            repeats, answers = entry.point.max_repeats, entry.requests * entry.output_tokens
        else:
            trace = traces[entry.trace]
            repeats = entry.point(trace).max_repeats
            answers = sum(request.output_tokens for request in trace[: entry.requests])
        tokens += answers * max(plan.repeats, repeats)
    size = tokens * TOKEN_BYTES * (plan.race.rounds if plan.race else 1)
    if size > MOST_RESULT_BYTES:
        yield (
            f"the loads may bring {size / TOKEN_BYTES:.3g} output tokens in each cell, and its result {size / 1e9:.2g} "
            f"GB; larger ones than {MOST_RESULT_BYTES / 1e9:.2g} GB are not read. Plan fewer requests, output tokens "
            "or repeats, or a plan for some of the loads"
        )


def window_problems(
    parsed: PlanFile, models: Sequence[ModelFacts], traces: Mapping[str, Sequence[TraceRequest]]
) -> Iterator[Problem]:
    plan = parsed.plan
    windows: list[tuple[Path_, int]] = [(("max_length",), plan.max_length)]
    windows += [
        (("perplexity", i, "max_length"), perplexity_plan.window) for i, perplexity_plan in enumerate(plan.perplexity)
    ]
    for model in models:
        if model.max_positions is not None and model.gate_tokens + 2 > model.max_positions:
            message = (
                f"{model.name} has {model.max_positions} positions, and the text of the sanity gate takes "
                f"{model.gate_tokens} tokens: no engine can be checked with it"
            )
            yield parsed.problem(("models",), message, "choose a model with a longer context")
    for where, tokens in windows:
        for model in models:
            if model.max_positions is not None and tokens + 2 > model.max_positions:
                message = (
                    f"a window of {tokens} tokens does not fit {model.name}, which has {model.max_positions} positions"
                )
                yield parsed.problem(where, message, f"use at most {model.max_positions - 2}")
    for place, line, tokens in request_tokens(plan, traces):
        for model in models:
            if model.max_positions is not None and tokens > model.max_positions:
                message = f"{line}{tokens} tokens do not fit {model.name}, which has {model.max_positions} positions"
                yield parsed.problem(place, message, f"use at most {model.max_positions} together")
