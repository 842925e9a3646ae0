"""A first plan as YAML: each key with a word on what it decides, and what else could stand there."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from engines.registry import engines_by_name
from evals.rounds.race import RaceRules
from evals.stats.combined_intervals import mean_of, recovery_of
from evals.stats.group_sequential import confidence_at
from evals.stats.intervals import exact, least_count
from evals.stats.paired_tests import difference_interval
from flows.cli.new_plan.choice import FirstPlan, weight_bytes
from flows.plan.load import presets
from flows.plan.samples import SCHEMA_FILE
from flows.sources.model_facts import ModelFacts
from flows.validate.tasks import SAMPLE_DATA
from quant.errors import program, without_controls

ROUNDS = 6
FIRST_LOOK = RaceRules().first_look  # a race may end after so many rounds
HIGHEST_RECOVERY, RIGHT, FLIPPED = 0.98, 0.5, 0.05
MANY_POSITIONS = 2**20  # of a model that does not say how many it has
LOWER_PERCENTILE = 90  # fewer requests show that it is met
COMMENT_COLUMN = 44


@dataclass(frozen=True)
class Scale:
    """How much is asked of a kind of device."""

    users: int
    requests: int
    prompt_tokens: int
    output_tokens: int
    window: int
    calibration: Mapping[str, int]
    tasks: Mapping[str, int]


SCALES: dict[Literal["cpu", "cuda"], Scale] = {
    "cpu": Scale(4, 32, 128, 32, 1024, {"samples": 16, "length": 256}, {"lambada_openai": 200, "arc_easy": 200}),
    "cuda": Scale(
        32,
        320,
        512,
        128,
        2048,
        {"samples": 128, "length": 512},
        {"lambada_openai": 2000, "arc_easy": 2376, "hellaswag": 2000},
    ),
}


def plan_name(model: ModelFacts) -> str:
    """What a plan for the model is called: a name that a plan takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model.name).strip("._-")[:60] or "plan"


def plan_text(first: FirstPlan, model_text: str, command_file: str) -> str:
    """The whole file. `model_text` is what the plan calls its model, `command_file` what a command line calls it."""
    device = first.device
    count, memory = f"{device.count} × " if device.count > 1 else "", round(device.memory_bytes / 1024**3)
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_FILE}",
        f"# Which quantization of {first.model.name}, in which engine, on this machine? Written by `bitfrontier init`.",
        f"# {program()} plan {command_file}: every cell, its time and disk; runs nothing",
        f"# {program()} sweep {command_file}: the measurement and its report",
        f"name: {json.dumps(plan_name(first.model))}",
        _line(f"device: {device.kind}", f"{count}{device.name}, {memory} GiB{' each' if count else ''}"),
        *_of_model(first, model_text),
        "methods:",
        *(f"  - {_flow(entry)}" for entry in first.methods),
        "engines:",
        *_engines(first),
        *_loads(first),
        *_scores(first),
    ]
    # what others' names hold ends no line: it would begin a key
    return "\n".join(without_controls(" ".join(line.splitlines())) for line in lines) + "\n"


def _of_model(first: FirstPlan, model_text: str) -> Iterator[str]:
    scale, positions = SCALES[first.device.kind], _positions(first.model)
    window = min(scale.window, positions - 2)
    length = min(scale.calibration["length"], positions)
    size = f"{first.model.parameters / 1e9:.3g} billion parameters, {weight_bytes(first.model) / 1e9:.3g} GB in 16 bits"
    yield _line(f"max_length: {window}", "tokens of a scored window")
    yield "models:"
    yield _line(f"  - {json.dumps(model_text, ensure_ascii=False)}", size)
    if first.lacks_memory:
        yield "  # the unquantized model may exceed this machine's memory: baselines would then fail"
    yield _line(f"data: {SAMPLE_DATA}", "`hub` has the data of every task of lm-eval, and WikiText-2")
    if any(quantization.calibration for works in first.engines.values() for quantization in works):
        samples = scale.calibration["samples"]
        calibration = f'{{text: "{SAMPLE_DATA}", samples: {samples}, length: {length}}}'
        yield _line(f"calibration: {calibration}", "or a UTF-8 file of your own text")


def _engines(first: FirstPlan) -> Iterator[str]:
    for name, works in first.engines.items():
        options = [option.name for option in engines_by_name()[name].options]
        spread = {"tensor_parallel": first.gpus} if first.gpus > 1 and "tensor_parallel" in options else {}
        taken = list(dict.fromkeys(quantization.method.name for quantization in works))
        yield f"  - {_flow({'engine': name, 'methods': taken, **({'options': spread} if spread else {})})}"
    for name, reason in first.left_out.items():
        yield f"  # left out: {name} ({reason})"


def _loads(first: FirstPlan) -> Iterator[str]:
    scale, positions = SCALES[first.device.kind], _positions(first.model)
    tokens = {
        "prompt_tokens": min(scale.prompt_tokens, positions // 2),
        "output_tokens": max(2, min(scale.output_tokens, positions // 4)),
    }
    yield _line(f"race: {{rounds: {ROUNDS}}}", "speed in rounds of fresh servers, until the fastest is known")
    sizes = {name: int(match[1]) for name in presets() if (match := re.search(r"-(\d+)b$", name))}
    larger = [name for name, size in sizes.items() if size * 1e9 >= first.model.parameters]
    name = min(larger or [max(sizes, key=sizes.__getitem__)], key=sizes.__getitem__)
    limits = presets()[name]
    decides = scale.requests * FIRST_LOOK >= least_count(limits["percentile"])
    percentile = limits["percentile"] if decides else LOWER_PERCENTILE
    fewest = math.ceil(least_count(percentile) / FIRST_LOOK)  # of each load: the shortest race shows the percentile
    yield "load:"
    yield _line(f"  - {_flow({'concurrency': 1, 'requests': fewest, **tokens})}", "one user: latency")
    busy = {"concurrency": scale.users, "requests": max(scale.requests, fewest), **tokens}
    yield _line(f"  - {_flow(busy)}", "many users: throughput")
    slo = {"preset": name} | ({} if decides else {"percentile": percentile})
    words = f"TTFT {limits['ttft_ms']} ms, TPOT {limits['tpot_ms']} ms, MLPerf's; or `ttft_ms` and `tpot_ms` of yours"
    yield _line(f"slo: {_flow(slo)}", words)


def _scores(first: FirstPlan) -> Iterator[str]:
    yield "tasks:"
    for task, limit in SCALES[first.device.kind].tasks.items():
        yield f"  - {_flow({'task': task, 'limit': limit, 'num_fewshot': 0})}"
    yield _line("accuracy: {budget: adaptive}", "a task ends when its comparison is decided")
    yield "limits:"
    counts = SCALES[first.device.kind].tasks.values()
    words = f"least share of the unquantized model's accuracy: what {sum(counts)} questions can show without a loss"
    yield _line(f"  accuracy_recovery: {_recovery_limit(counts):g}", words)
    yield _line("  perplexity_ratio: 1.1", "and at most this multiple of its perplexity")
    yield "# perplexity: [papers]                   # WikiText-2, with `data: hub`"
    yield "# kl_divergence: [wikitext2]             # the sharpest measure of quality lost, with `data: hub`"
    yield "# price: {per_device_hour: 2.5, currency: USD}   # what a million output tokens cost"


def _recovery_limit(counts: Collection[int]) -> float:
    """The highest limit, to a hundredth, which a cell without a loss is shown to meet by so many questions each:
    the lower end of its interval, where half of the model's answers are right and one in 20 flips.
    """
    differences = [
        difference_interval(count, count * FLIPPED / 2, count * FLIPPED / 2, confidence_at(count, count))
        for count in counts
    ]
    lowest = recovery_of(mean_of(differences), exact(RIGHT), 0.0).low
    return min(HIGHEST_RECOVERY, math.floor(100 * lowest) / 100)


def _positions(model: ModelFacts) -> int:
    return model.max_positions or MANY_POSITIONS


def _flow(entry: Mapping[str, Any]) -> str:
    """As YAML on one line."""
    text: str = yaml.safe_dump(dict(entry), default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.strip()


def _line(text: str, comment: str) -> str:
    return f"{text:<{COMMENT_COLUMN}} # {comment}"
