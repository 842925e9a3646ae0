"""A rough forecast of a sweep's time and disk, from figures measured once on a small model, scaled by size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evals.schema.load import LoadPoint
from evals.schema.slo import LEAST_REPEATS
from flows.plan.load import SearchPlan
from flows.validate.matrix import Cell
from flows.validate.resolved import ResolvedPlan

BASIS = "SmolLM2-135M on 2 cores of an x86-64 CPU with AVX2; expect to be off by a factor of two and more"
BASE_PARAMETERS = 134_515_008
QUANTIZE_SECONDS = 15.0
CALIBRATION_SECONDS_PER_TOKEN = {"awq": 0.1, "autoawq": 0.07, "gptq": 0.012, "smoothquant": 0.004, "fp8": 0.004}
GPTQ_SECONDS = 60.0
GPTQ = ("gptq", "gptqmodel", "autogptq")
TUNING_SECONDS_PER_ITERATION = 7.5
START_SECONDS = {"transformers": 15.0, "vllm": 85.0}
DECODE_SECONDS_PER_STEP = 0.08
SCORED_TOKENS_PER_SECOND = 400.0
ITEM_TOKENS = {"mmlu": 110, "hellaswag": 220, "arc_easy": 60, "arc_challenge": 70, "lambada_openai": 90}
LEAVES = {"mmlu": 57}
ITEMS = {
    "mmlu": 246,
    "hellaswag": 10042,
    "arc_easy": 2376,
    "arc_challenge": 1172,
    "lambada_openai": 5153,
    "wikitext": 62,
}


@dataclass(frozen=True)
class Forecast:
    """Seconds per cell (measuring alone), seconds and bytes of the whole sweep, and what it was scaled from."""

    cells: tuple[float, ...]
    seconds: float
    bytes: int
    basis: str


def estimate(sweep: ResolvedPlan) -> Forecast:
    """Forecast the sweep as if nothing of it were finished."""
    cells = tuple(_measure_seconds(sweep, cell) for cell in sweep.cells)
    jobs = {(c.model.location, c.quantization.label): c for c in sweep.cells if c.unsupported is None}
    quantizing = sum(_quantize_seconds(cell) for cell in jobs.values())
    size = sum(cell.model.parameters * 2 for cell in jobs.values())
    size += sum({cell.model.location: cell.model.download_bytes for cell in sweep.cells}.values())
    return Forecast(cells, sum(cells) + quantizing, size, BASIS)


def _quantize_seconds(cell: Cell) -> float:
    quantization = cell.quantization
    seconds = QUANTIZE_SECONDS + (GPTQ_SECONDS if quantization.method.name in GPTQ else 0.0)
    seconds += TUNING_SECONDS_PER_ITERATION * int(quantization.parameters.get("iterations", 0))
    if quantization.calibration:
        samples, length, _ = quantization.calibration
        seconds += CALIBRATION_SECONDS_PER_TOKEN.get(quantization.method.name, 0.05) * samples * length
    return seconds * max(1.0, cell.model.parameters / BASE_PARAMETERS)


def _measure_seconds(sweep: ResolvedPlan, cell: Cell) -> float:
    if cell.unsupported is not None:
        return 0.0
    plan, scale = sweep.plan, cell.model.parameters / BASE_PARAMETERS
    decoding = plan.repeats * scale * DECODE_SECONDS_PER_STEP * sum(map(_steps, sweep.loads))
    tokens = 0.0
    for spec in sweep.tasks:
        per_leaf = ITEMS.get(spec.name, 1000)
        items = LEAVES.get(spec.name, 1) * min(spec.limit or per_leaf, per_leaf)
        tokens += items * ITEM_TOKENS.get(spec.name, 150) * (1 + spec.num_fewshot)
    tokens += sum(
        (perplexity_plan.max_tokens or 300_000) * perplexity_plan.window / perplexity_plan.stride
        for perplexity_plan in plan.perplexity
    )
    tokens += sum(
        divergence_plan.count * (divergence_plan.length + divergence_plan.answer_tokens)
        for divergence_plan in plan.kl_divergence
    )
    start = 0.0 if cell.choice.attached else START_SECONDS.get(cell.choice.engine.name, 30.0)
    decoding += scale * DECODE_SECONDS_PER_STEP * sum(map(_search_steps, plan.search))
    searching = sum(entry.level_seconds * (_search_loads(entry) + LEAST_REPEATS) for entry in plan.search)
    searching += start * bool(plan.search)  # of the fresh session, in which what was found is confirmed
    arriving = plan.repeats * sum(load.requests / load.rate_per_second for load in sweep.loads if load.rate_per_second)
    return start + decoding + searching + arriving + scale * tokens / SCORED_TOKENS_PER_SECOND


def _steps(load: LoadPoint) -> float:
    """Decoding steps one after the other; of an open load those of its last request."""
    return load.requests / load.concurrency * load.output_tokens if load.concurrency else load.output_tokens


def _search_steps(search_plan: SearchPlan) -> float:
    """Of one repeat at each load."""
    at_once = math.sqrt(search_plan.lowest * search_plan.highest) if search_plan.over == "concurrency" else 1.0
    return _search_loads(search_plan) * search_plan.requests / at_once * search_plan.output_tokens


def _search_loads(search_plan: SearchPlan) -> int:
    """Those that doubling tries, and two between."""
    return math.ceil(math.log2(search_plan.highest / search_plan.lowest)) + 3
