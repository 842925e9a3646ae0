"""A forecast of a sweep's time and disk: from its device, its models, its engines and what is asked of them, put right
by how far forecasts were off in this machine's earlier runs.

A decoding step reads all weights once, or multiplies each with every request's vector, whichever takes longer, and the
engine adds its own time (Williams, Waterman and Patterson, Roofline, Communications of the ACM 52, 2009). Prompts and
scored texts are bound by multiplications.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from engines.telemetry.device_figures import DeviceFigures, device_figures
from engines.telemetry.machine import this_machine
from evals.rounds.race import RaceRules
from evals.schema.load import LoadPoint
from evals.schema.slo import LEAST_REPEATS
from flows.plan.load import SearchPlan
from flows.plan.race import RacePlan
from flows.state.past_forecasts import past_ratios
from flows.validate.evaluation_sizes import scored_tokens
from flows.validate.matrix import Cell
from flows.validate.resolved import ResolvedPlan
from quant.types import Scheme


@dataclass(frozen=True)
class EngineCost:
    """`start_seconds` until it is ready; `step_seconds` that it adds to each decoding step; how many bytes a weight
    takes where quantized ones are not read as such (None: as stored); share of the device's peak that prompts reach.
    """

    start_seconds: float
    step_seconds: float
    bytes_per_weight: float | None
    prompt_share: float


# CPU: evidence/*-cpu-2026-11-2*.json on two cores with AVX2. CUDA: not measured, from published figures of its kind
CPU_ENGINES = {
    "transformers": EngineCost(7.0, 0.08, 4.0, 0.5),
    "deepspeed": EngineCost(7.0, 0.08, 4.0, 0.5),
    "triton": EngineCost(7.0, 0.08, 4.0, 0.5),
    "vllm": EngineCost(32.0, 0.06, 4.0, 0.45),
    "sglang": EngineCost(28.0, 0.06, 4.0, 0.4),
    "llama_cpp": EngineCost(1.5, 0.001, None, 0.4),
    "openvino": EngineCost(3.0, 0.004, None, 0.4),
}
UNKNOWN_CPU_ENGINE = EngineCost(15.0, 0.03, 4.0, 0.4)
CUDA_ENGINES = {
    "transformers": EngineCost(25.0, 0.035, 2.0, 0.25),
    "deepspeed": EngineCost(25.0, 0.035, 2.0, 0.25),
    "vllm": EngineCost(90.0, 0.006, None, 0.15),
    "sglang": EngineCost(70.0, 0.006, None, 0.15),
    "tensorrt_llm": EngineCost(120.0, 0.004, None, 0.15),
}
UNKNOWN_CUDA_ENGINE = EngineCost(90.0, 0.01, None, 0.15)
ENGINES = {"cpu": (CPU_ENGINES, UNKNOWN_CPU_ENGINE), "cuda": (CUDA_ENGINES, UNKNOWN_CUDA_ENGINE)}

READ_SHARE = 0.6  # of the memory's bandwidth, while decoding
DISK_BYTES_PER_SECOND = 1e9
FORCING = 4.5  # a token a request (evidence/perplexity-cpu-2026-11-21.json, engines-cpu-2026-11-21.json)
GATE_SECONDS = 3.0
SHARING = 0.8  # of the tokens, where a server reads once what answers to a question have in common
SCORING_IN_FLIGHT = 4

QUANTIZE_SECONDS = 15.0  # imports and one pass over the weights
REFERENCE_PARAMETERS = 134_515_008
REFERENCE_FLOPS = 192e9  # what the seconds below were measured on
CALIBRATION_SECONDS_PER_TOKEN = {"awq": 0.1, "autoawq": 0.07, "gptq": 0.012, "smoothquant": 0.004, "fp8": 0.004}
GPTQ_SECONDS = 60.0
GPTQ = ("gptq", "gptqmodel", "autogptq")
TUNING_SECONDS_PER_ITERATION = 7.5
GPU_TOOL_SHARE = 0.08  # a tool reaches less of a GPU's peak than of a CPU's: it works layer by layer from Python

PRIOR_FACTORS = {("cpu", True): 2.0, ("cuda", True): 3.0, ("cuda", False): 5.0}  # kind, is in the table
PHASES = ("start", "speed", "accuracy")
FIRST_LOOK = RaceRules().first_look
Spread = tuple[float, float]  # seconds, and the logarithm of the factor within which they are likely


@dataclass(frozen=True)
class RaceForecast:
    """At most so many `rounds` of `cells` and, but in the first, of a `control`. Seconds of those after the first: the
    `least` where all is decided at the first look, the `most` where no cell leaves.
    """

    rounds: int
    cells: int
    control: bool
    least_seconds: float
    most_seconds: float

    @classmethod
    def of(cls, plan: RacePlan, cells: int, control: bool, round_seconds: float) -> RaceForecast:
        """Of a race whose later rounds take so long where nobody has left; `minutes` are looked at after each."""
        within = math.floor(60 * plan.minutes / round_seconds) + 1 if plan.minutes else plan.rounds
        least, most = (min(rounds - 1, within) * round_seconds for rounds in (FIRST_LOOK, plan.rounds))
        return cls(plan.rounds, cells, control, least, most)


@dataclass(frozen=True)
class Forecast:
    """Seconds of each cell's phases before they were put right (`raw`) and in all (`cells`), of the whole sweep with
    quantizing (`seconds`, likely within a `factor` of it), bytes on disk, and what it was made of. How long a `race`
    goes on nobody knows before: `seconds` are the geometric mean of its least and its most, which are both in `factor`;
    `first_seconds` are without its later rounds.
    """

    raw: tuple[Mapping[str, float], ...]
    cells: tuple[float, ...]
    seconds: float
    factor: float
    bytes: int
    basis: str
    race: RaceForecast | None = None
    first_seconds: float = 0.0


def estimate(sweep: ResolvedPlan, runs: Path) -> Forecast:
    """Forecast the sweep as if nothing of it were finished; building environments and downloads are not counted."""
    device = device_figures(sweep.device, sweep.plan.thread_count)
    past = past_ratios(runs, this_machine(sweep.device.kind))
    raw = tuple(_phases(sweep, cell, device) for cell in sweep.cells)
    prior = PRIOR_FACTORS[sweep.device.kind, device.is_known]

    def corrected(cell: Cell, phases: Mapping[str, float]) -> list[Spread]:
        ratios = {phase: past.get((cell.choice.engine.name, phase)) for phase in phases}
        corrections = {phase: ratio.correction if ratio else 1.0 for phase, ratio in ratios.items()}
        factors = {phase: ratio.factor(prior) if ratio else prior for phase, ratio in ratios.items()}
        return [(seconds * corrections[phase], math.log(factors[phase])) for phase, seconds in phases.items()]

    first = [corrected(cell, phases) for cell, phases in zip(sweep.cells, raw, strict=True)]
    plan = sweep.plan.race
    visits = {  # later ones, by the cell's place
        place: corrected(cell, _Speed(cell, sweep.device.kind, device).visit(sweep))
        for place, cell in enumerate(sweep.cells)
        if plan is not None and cell.unsupported is None and not cell.choice.attached
    }
    jobs = {(c.model.location, c.quantization.label): c for c in sweep.cells if c.unsupported is None}
    quantizing = sum(_quantize_seconds(cell, sweep.device.kind, device) for cell in jobs.values())
    spreads = [*chain(*first), (quantizing, math.log(prior))]
    unquantized = [visit for place, visit in visits.items() if sweep.cells[place].quantization.scheme.unquantized]
    control = unquantized[0] if plan is not None and plan.control and unquantized else []
    one_round = [*chain(*visits.values()), *control]
    race = RaceForecast.of(plan, len(visits), bool(control), _seconds(one_round)) if plan and visits else None
    once = _seconds(spreads)
    least, most = (once + rest for rest in ((race.least_seconds, race.most_seconds) if race else (0, 0)))
    total = math.sqrt(least * most)
    rounds = (total - once) / _seconds(one_round) if race else 0.0
    spreads += [(rounds * seconds, spread) for seconds, spread in one_round]
    factor = math.exp(sum(seconds * spread for seconds, spread in spreads) / total) * most / total if total else 1.0
    size = sum(cell.model.parameters * 2 for cell in jobs.values())
    size += sum({cell.model.location: cell.model.download_bytes for cell in sweep.cells}.values())
    learned = sum(ratio.trials for (_, phase), ratio in past.items() if phase == "start")
    basis = device.source + (f"; {learned} earlier trials on this machine" if learned else "")
    cells = tuple(_seconds(once) + rounds * _seconds(visits.get(place, [])) for place, once in enumerate(first))
    return Forecast(raw, cells, total, factor, size, basis, race, once)


def _seconds(spreads: Sequence[Spread]) -> float:
    return sum(seconds for seconds, _ in spreads)


def noted(forecast: Forecast, trials: list[str]) -> dict[str, Any]:
    """What a run keeps of its forecast, by the names of its trials' files."""
    return {
        "seconds": forecast.seconds,
        "factor": forecast.factor,
        "basis": forecast.basis,
        "cells": {name: dict(phases) for name, phases in zip(trials, forecast.raw, strict=True)},
    }


def _quantize_seconds(cell: Cell, kind: str, device: DeviceFigures) -> float:
    quantization, size = cell.quantization, cell.model.parameters / REFERENCE_PARAMETERS
    seconds = GPTQ_SECONDS if quantization.method.name in GPTQ else 0.0
    seconds += TUNING_SECONDS_PER_ITERATION * int(quantization.parameters.get("iterations", 0))
    if quantization.calibration:
        samples, length, _ = quantization.calibration
        seconds += CALIBRATION_SECONDS_PER_TOKEN.get(quantization.method.name, 0.05) * samples * length
    speed = device.flops / REFERENCE_FLOPS * (GPU_TOOL_SHARE if kind == "cuda" else 1.0)
    stored = 2 * 2 * cell.model.parameters / DISK_BYTES_PER_SECOND  # read and written in 16 bits
    return QUANTIZE_SECONDS + stored + seconds * size / speed


def _phases(sweep: ResolvedPlan, cell: Cell, device: DeviceFigures) -> Mapping[str, float]:
    if cell.unsupported is not None:
        return dict.fromkeys(PHASES, 0.0)
    plan, speed = sweep.plan, _Speed(cell, sweep.device.kind, device)
    visit = speed.visit(sweep)
    timed = visit["speed"] + sum(speed.search_seconds(search) for search in plan.search)
    confirming = 0 if cell.choice.attached else LEAST_REPEATS
    timed += sum(entry.level_seconds * (_search_loads(entry) + confirming) for entry in plan.search)
    tokens = scored_tokens(plan, sweep.tasks, sweep.known_tasks, is_baseline=cell.quantization.scheme.unquantized)
    way = {"forcing": FORCING, "score": SHARING, "none": 0.0}.get(cell.choice.engine.dialect.prompt_logprobs, 1.0)
    scoring = way * tokens.read * speed.prompt_seconds
    scoring += tokens.generated / SCORING_IN_FLIGHT * speed.step_seconds(SCORING_IN_FLIGHT)
    start = 0.0 if cell.choice.attached else visit["start"]
    start *= 2 if plan.search else 1  # what was found is confirmed in a fresh session
    return {"start": start, "speed": timed, "accuracy": scoring + GATE_SECONDS}


class _Speed:
    """How long one cell takes for tokens and loads."""

    def __init__(self, cell: Cell, kind: str, device: DeviceFigures) -> None:
        costs, unknown = ENGINES[kind]
        engine = costs.get(cell.choice.engine.name, unknown)
        self.engine, self.device, self.parameters = engine, device, cell.model.parameters
        stored = engine.bytes_per_weight or bits_of(cell.quantization.scheme) / 8
        self.weight_bytes = self.parameters * stored
        self.prompt_seconds = 2 * self.parameters / (device.flops * engine.prompt_share)

    def visit(self, sweep: ResolvedPlan) -> Mapping[str, float]:
        """A fresh server and all loads, without searches."""
        start = self.engine.start_seconds + self.weight_bytes / DISK_BYTES_PER_SECOND
        return {"start": start, "speed": sweep.plan.repeats * sum(map(self.load_seconds, sweep.loads))}

    def step_seconds(self, batch: float) -> float:
        read = self.weight_bytes / (self.device.bytes_per_second * READ_SHARE)
        return max(read, batch * self.prompt_seconds) + self.engine.step_seconds

    def load_seconds(self, load: LoadPoint) -> float:
        """Of one repeat: an open load ends when its last request does."""
        if load.concurrency is None:
            arriving = load.requests / load.rate_per_second if load.rate_per_second else 0.0
            return max(arriving, load.requests * load.prompt_tokens * self.prompt_seconds) + self._answer(load, 1)
        at_once = min(load.concurrency, load.requests)
        prompts = load.requests * load.turns * load.prompt_tokens * self.prompt_seconds
        return prompts + load.requests * load.turns / at_once * self._answer(load, at_once)

    def _answer(self, load: LoadPoint, batch: float) -> float:
        return load.output_tokens * self.step_seconds(batch)

    def search_seconds(self, search: SearchPlan) -> float:
        """One repeat at each load."""
        loads = _search_loads(search)
        middle = math.sqrt(search.lowest * search.highest)
        if search.over == "rate":
            return loads * (search.requests / middle + search.output_tokens * self.step_seconds(1))
        each = search.prompt_tokens * self.prompt_seconds + search.output_tokens * self.step_seconds(middle) / middle
        return loads * search.requests * each


def _search_loads(search: SearchPlan) -> int:
    """Those that doubling tries, and two between."""
    return math.ceil(math.log2(search.highest / search.lowest)) + 3


def bits_of(scheme: Scheme) -> float:
    """Of a stored weight, by its scheme's name: int4, fp8, Q4_K_M, NVFP4; 16 where that tells nothing."""
    digits = re.search(r"\d+", scheme.weights)
    return float(digits[0]) if digits else 16.0
