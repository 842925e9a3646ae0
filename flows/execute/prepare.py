"""Models and data are fetched, keys computed, before anything is quantized or measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import engines.runtime.environments
from engines.runtime.environments import Environment
from engines.types import Device
from evals.accuracy.chat_template import template_of
from evals.schema.trial import Trial
from flows.execute.keys import cell_parts, data_identities, server_key, unsupported_key
from flows.execute.prepared import Prepared, Row
from flows.execute.quantize_checkpoint import Job, make_job
from flows.execute.rows import all_there, finished, slug
from flows.plan.source import PlanFile
from flows.sources.checkpoints import fetch_stored
from flows.sources.datasets import data_root
from flows.sources.model_facts import ModelFacts
from flows.sources.models import Model, prepare_model, raise_failure
from flows.sources.references import forget_failures
from flows.sources.samples import SourceError
from flows.state.progress_display import Display
from flows.state.stale import StaleResult, find_stale
from flows.validate.compute_types import compute_dtype
from flows.validate.matrix import Cell, Quantization
from flows.validate.plan import REFERENCE_ENVIRONMENT
from flows.validate.resolved import ResolvedPlan
from quant.hashing import digest


def environments_of(sweep: ResolvedPlan) -> list[Environment]:
    """Every environment that the sweep's supported cells need, resolved but not built."""
    return [engines.runtime.environments.resolve(name, sweep.stand_in(name)) for name in environment_names(sweep)]


def environment_names(sweep: ResolvedPlan) -> list[str]:
    """The names of every environment that the sweep's supported cells need."""
    names = {REFERENCE_ENVIRONMENT}
    for cell in sweep.cells:
        if cell.unsupported is None:
            names |= {cell.quantization.method.environment, cell.environment} - {""}
    return sorted(names)


def prepare_sweep(
    sweep: ResolvedPlan, environments: list[Environment], runs: Path, display: Display, *, references: bool = True
) -> Prepared:
    """Models and data are fetched, keys computed. Nothing is written into the run, quantized or measured. A plan with
    `keep_stale` has its run's stale results in place of what would be measured. Without `references`, those of models
    that are not there yet are not computed.
    """
    by_name = {environment.name: environment for environment in environments}
    facts = {cell.model.location: cell.model for cell in sweep.cells if cell.unsupported is None}
    models = {
        location: prepare_model(fact, by_name[REFERENCE_ENVIRONMENT], display.say, references=references)
        for location, fact in facts.items()
    }
    if sweep.plan.accuracy.chat_template:
        for model in models.values():
            if template_of(model.folder) is None:
                fix = "use `chat_template: false`, or an instruct model"
                raise SourceError(f"{model.name} has no chat template", fix)
    for stored in {checkpoint for cell in sweep.cells for checkpoint in cell.quantization.stored.values()}:
        fetch_stored(stored)
    data = data_identities(sweep, data_root(sweep.plan.data, sweep.base, display.say))
    jobs: dict[tuple[str, str], Job] = {}
    baselines: dict[tuple[str, int], dict[str, str]] = {}
    rows: dict[int, Row] = {}
    first_baselines = sorted(enumerate(sweep.cells), key=lambda entry: not entry[1].quantization.scheme.unquantized)
    for number, cell in first_baselines:
        job = None
        if cell.unsupported is None:
            job = _job(sweep, cell, models[cell.model.location], by_name, jobs)
        unquantized, served = cell.quantization.scheme.unquantized, (cell.model.location, id(cell.choice))
        baseline = None if unquantized else baselines.get(served, {})
        parts = () if job is None else cell_parts(sweep, cell, job, by_name, data, baseline)
        if unquantized and parts:
            baselines.setdefault(served, {part.name: part.key for part in parts})
        key = digest([part.key for part in parts]) if parts else unsupported_key(sweep, cell)
        file = runs / sweep.plan.name / "trials" / f"{slug(cell)}-{key[:12]}.json"
        rows[number] = Row(cell, key, server_key(sweep, cell, job, by_name), job, file, parts)
    prepared = Prepared(sweep, runs / sweep.plan.name, by_name, models, tuple(rows[number] for number in sorted(rows)))
    return _with_stale(prepared) if sweep.keep_stale else prepared


def stale_rows(prepared: Prepared) -> dict[str, StaleResult]:
    """Of the cells that would be measured, and were before: the results that are stale, by the rows' keys. A result
    that two cells could have is the nearer one's.
    """
    current = {row.file.name for row in prepared.rows}
    stale = {}
    for row in prepared.rows:
        if row.parts and finished(row) is None and not all_there(prepared, row):
            wanted = {"server": row.parts[0].server, **{part.name: part.own for part in row.parts}}
            is_of_cell = partial(_is_of_cell, row.cell, prepared.sweep.device)
            result = find_stale(row.file.parent, row.slug, wanted, current, is_of_cell)
            if result is not None:
                stale[row.key] = result
    nearest: dict[Path, str] = {}
    for key, result in sorted(stale.items(), key=lambda entry: len(entry[1].reasons)):
        nearest.setdefault(result.file, key)
    return {key: result for key, result in stale.items() if nearest[result.file] == key}


def _is_of_cell(cell: Cell, device: Device, trial: Trial) -> bool:
    """An option that one of them does not know, and a type that is left to the engine where it is the same in fact, are
    reasons to be stale, and tell no cells apart.
    """
    ours, theirs = cell.choice.options, trial.engine_options
    named = (cell.model.name, cell.quantization.label, cell.choice.engine.name)
    dtype = compute_dtype(cell.quantization, cell.choice, device)
    same_dtype = not dtype or not trial.compute_dtype or dtype == trial.compute_dtype
    return (
        named == (trial.model, trial.method_label, trial.engine)
        and bool(cell.choice.attached) == bool(trial.provenance.get("attached"))
        and same_dtype
        and all(ours[name] == theirs[name] for name in (ours.keys() & theirs.keys()) - {"dtype"})
    )


def _with_stale(prepared: Prepared) -> Prepared:
    """The same run with stale results in place of what would be measured, marked as such."""
    stale = stale_rows(prepared)
    rows = tuple(
        replace(row, key=stale[row.key].trial.key, file=stale[row.key].file) if row.key in stale else row
        for row in prepared.rows
    )
    return replace(prepared, rows=rows, stale={result.file.name: result for result in stale.values()})


def _job(
    sweep: ResolvedPlan,
    cell: Cell,
    model: Model,
    environments: Mapping[str, Environment],
    jobs: dict[tuple[str, str], Job],
) -> Job:
    key = (cell.model.location, cell.quantization.label)
    if key not in jobs:
        environment = environments[cell.quantization.method.environment]
        text, threads = sweep.plan.calibration.text, sweep.plan.threads
        jobs[key] = make_job(model, cell.quantization, environment, text=text, base=sweep.base, threads=threads)
    return jobs[key]


def jobs_of(
    parsed: PlanFile,
    facts: ModelFacts,
    wanted: Sequence[Quantization],
    environments: Sequence[Environment],
    display: Display,
) -> list[Job]:
    """What makes these checkpoints of a model, for nobody in particular to serve."""
    by_name, base = {environment.name: environment for environment in environments}, parsed.file.resolve().parent
    forget_failures()  # of references, which no checkpoint needs
    model = prepare_model(facts, by_name[REFERENCE_ENVIRONMENT], display.say, references=False)
    raise_failure(model)
    for stored in {checkpoint for quantization in wanted for checkpoint in quantization.stored.values()}:
        fetch_stored(stored)
    text, threads = parsed.plan.calibration.text, parsed.plan.threads
    return [
        make_job(model, quantization, by_name[quantization.method.environment], text=text, base=base, threads=threads)
        for quantization in wanted
    ]
