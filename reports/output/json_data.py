"""The same conclusions for scripts: plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from reports.decision.recommend import Answer, refusal
from reports.decision.results import Results
from reports.decision.what_decides import deciding
from reports.metrics.cell import CellMetrics
from reports.metrics.cost import costs
from reports.metrics.engine_drift import drifts
from reports.metrics.load import LoadMetrics
from reports.metrics.needed_memory import needed_memory
from reports.metrics.slo_capacity import Capacity, Waiting, capacities, served
from reports.metrics.task_accuracy import task_shots
from reports.output.formatting import won_text
from reports.output.html_report import task_columns
from reports.output.race_view import RaceView, race_view
from reports.sections.crossover import crossings, fastest
from reports.sections.device_scaling import scalings
from reports.sections.durations import forecast_error, spent
from reports.sections.energy import energies
from reports.sections.engine_ratios import moves
from reports.sections.memory_footprint import footprints
from reports.sections.published_values import anchored
from reports.sections.roofline import bandwidths, rooflines
from reports.sections.seed_variation import spreads

ABOUT = ("name", "models", "command", "device", "threads", "repeats", "limits", "accuracy", "versions", "notes")
CHECKPOINT = ("bytes", "bits_per_weight", "linear_bits_per_weight", "tensor_types", "seconds", "versions")


def as_data(results: Results) -> dict[str, Any]:
    """Plain data: what was run, each cell's status, headline figures and provenance, drift, the answer."""
    cells = {cell.trial.key: cell for cell in results.cells}
    verdicts = {
        judgement.cell.trial.key: {"verdict": judgement.verdict, "why": judgement.why, "cause": judgement.cause}
        for judgement in results.judged
    }
    rows = []
    for trial in results.trials:
        row: dict[str, Any] = {name: getattr(trial, name) for name in ("model", "status", "reason", "compute_dtype")}
        row["cell"] = trial.name
        if trial.failure:
            row["failure"] = asdict(trial.failure)
        if trial.key in cells:
            row |= {**verdicts[trial.key], **_figures(cells[trial.key]), **_provenance(trial)}
            row["against_reference"] = asdict(direct) if (direct := results.direct.get(trial.key)) else None
        rows.append(row)
    answers = [_answer(answer) | {"refusal": refusal(answer, results.models)} for answer in results.answers]
    return {
        "sweep": {name: results.about[name] for name in ABOUT},
        "forecast": asdict(forecast)
        if (forecast := forecast_error(results.about, results.trials, results.control))
        else None,
        "spent": [asdict(part) for part in spent(results.trials, results.control)],
        "columns": task_columns(results.cells),
        "shots": task_shots(results.trials),
        "cells": rows,
        "served": [
            {"name": load.name, "limits": asdict(load.limits), **_waiting(load.waiting)}
            for load in served(results.cells, results.slo)
        ],
        "capacities": [_capacity(capacity) for capacity in capacities(results.cells)],
        "costs": [asdict(cost) for cost in costs(results.cells, results.about.get("price"), results.slo)],
        "scaling": [asdict(scaling) for scaling in scalings(results.cells)],
        "energy": [asdict(energy) for energy in energies(results.cells, results.speed_models)],
        "footprints": [asdict(footprint) for footprint in footprints(results.cells, results.about.get("memory"))],
        "frontiers": [
            {"plot": frontier.plot.title, "cells": [asdict(cell) for cell in frontier.standings]}
            for frontier in results.frontiers
        ],
        "fastest": [asdict(winner) for winner in fastest(results.allowed)],
        "crossings": [asdict(crossing) for crossing in crossings(results.allowed)],
        "bandwidth": bandwidths(results.cells),
        "roofline": [asdict(roofline) for roofline in rooflines(results.cells)],
        "moves": [asdict(move) for move in moves(results.cells)],
        "drift": [asdict(drift) for drift in drifts(results.cells)],
        "flips": [asdict(flip) for flip in results.compared.flips],
        "likelihoods": [asdict(likelihood) for likelihood in results.compared.likelihoods],
        "anchors": [asdict(anchor) | {"agrees": anchor.agrees} for anchor in anchored(results.cells)],
        "seeds": [asdict(spread) for spread in spreads(results.cells, results.distances)],
        "kl_divergences": [asdict(distance) for distance in results.distances],
        "warnings": list(results.warnings),
        "engines": [asdict(loss) for loss in results.losses.values()],
        "deciding": [asdict(entry) for entry in deciding(results)],
        "race": _race(race) if (race := race_view(results)) else None,
        "answers": answers,
        "answer": answers[0] if len(answers) == 1 else None,  # across models no cell wins
    }


def _race(race: RaceView) -> dict[str, Any]:
    return {
        **asdict(race.state),
        "noise": [asdict(noise) for noise in race.noises],
        "certainties": [asdict(certain) if certain else None for certain in race.certainties],
        "visited": [asdict(cell) for cell in race.visited],
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "model": answer.model,
        "cell": answer.chosen.cell.trial.name if answer.chosen else None,
        "load": asdict(answer.won.loads[0].load) if answer.won else None,
        "objective": answer.aim.objective,
        "figure": _estimate(answer.won.figure) if answer.won else None,
        "won": won_text(answer),
        "caveats": list(answer.caveats),
        "alternative": answer.alternative,
        "open_cells": list(answer.open_cells),
        "runner_up_ratio": _estimate(answer.ratio),
        "others": [asdict(other) for other in answer.others],
    }


def _figures(cell: CellMetrics) -> dict[str, Any]:
    latency = cell.calmest.latency
    return {
        "output_tokens_per_second": _estimate(cell.busiest.output_rate),
        "single_output_tokens_per_second": _estimate(cell.calmest.output_rate),
        "ttft_p50_seconds": latency.ttft[0].value,
        "tpot_p50_seconds": latency.tpot_p50_seconds,
        "loads": [_load(load) for load in cell.loads],
        "startup_seconds": cell.trial.startup_seconds,
        "peak_memory_bytes": cell.peak_bytes,
        "needed_memory": asdict(needed) if (needed := needed_memory(cell.trial)) else None,
        "mean_accuracy": _estimate(cell.accuracy),
        "accuracy_recovery": _estimate(cell.recovery),
        "perplexity_ratio": _estimate(cell.perplexity_ratio),
        "tasks": [{"task": task.task, "metric": task.metric, **asdict(task.estimate)} for task in cell.tasks],
    }


def _load(load: LoadMetrics) -> dict[str, Any]:
    """One load point: rates per second with intervals, percentiles 50, 95 and 99 in seconds with theirs."""
    return {
        "load": asdict(load.load),
        "output_tokens_per_second": _estimate(load.output_rate),
        "total_tokens_per_second": _estimate(load.total_rate),
        "requests_per_second": _estimate(load.request_rate),
        "latency_seconds": asdict(load.latency),
        "warnings": list(load.warnings),
        "client_cores": load.client_cores,
    }


def _capacity(capacity: Capacity) -> dict[str, Any]:
    plain = {
        "within": asdict(capacity.within),
        "limits": asdict(capacity.limits),
        "at": _waiting(capacity.at) if capacity.at else None,
    }
    return {
        "name": capacity.name,
        "model": capacity.model,
        "met": capacity.met,
        "met_once": capacity.met_once,
        "violated": capacity.violated,
        "inconclusive": list(capacity.inconclusive),
    } | plain


def _waiting(waiting: Waiting) -> dict[str, Any]:
    """Seconds at the limits' percentile, the share of good requests, good requests per second."""
    figures = {
        "ttft_seconds": waiting.ttft,
        "tpot_seconds": waiting.tpot,
        "good_share": waiting.good,
        "goodput_per_second": waiting.goodput,
    }
    return {**_load(waiting.load), **{name: _estimate(value) for name, value in figures.items()}}


def _provenance(trial: Trial) -> dict[str, Any]:
    checkpoint = trial.checkpoint or {}
    return {
        "seconds": dict(trial.seconds),
        "gates": [asdict(gate) for gate in trial.gates],
        "engine_facts": dict(trial.facts),
        "engine_options": trial.provenance.get("engine_options"),
        "measured": trial.provenance.get("measured"),
        "checkpoint": {name: checkpoint[name] for name in CHECKPOINT if name in checkpoint},
    }


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    return asdict(estimate) if estimate else None
