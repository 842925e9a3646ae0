"""Export to the benchmark report of llm-d, version 0.2: one document for each load of each cell.

The format: github.com/llm-d/llm-d-benchmark, llmdbenchmark/analysis/benchmark_report/schema_v0_2.py. Latencies are of
the requests that count (`evals.metrics.steady_state`), rates those of the steady windows; their spread is over repeats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engines.runtime.cache import NotWritable
from evals.metrics.steady_state import steady
from evals.metrics.throughput import steady_rates
from evals.schema.load import LoadPoint, Speed
from evals.schema.trial import Trial
from quant.canonical_json import json_text, write_whole
from quant.errors import reading
from quant.hashing import digest
from reports.decision.results import Results

VERSION = "0.2"
UNSAFE = re.compile(r"[^A-Za-z0-9._-]")  # in the name of a file
PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99)


def export(results: Results, folder: Path) -> list[Path]:
    """Write NAME-LOAD.json for each load of each ok cell; returns the files. Raises NotWritable."""
    written = []
    for trial in results.trials:
        for number, speed in enumerate(trial.speed if trial.status == "ok" else ()):
            name = UNSAFE.sub("-", trial.key[:16])
            file, text = folder / f"{name}-{number}.json", json_text(document(results.about, trial, speed))
            with reading(folder, NotWritable, "Name another folder", "cannot be written"):
                folder.mkdir(parents=True, exist_ok=True)
                write_whole(file, text)
            written.append(file)
    return written


def document(about: Mapping[str, Any], trial: Trial, speed: Speed) -> dict[str, Any]:
    """One load of one cell."""
    described = f"{trial.name} at {speed.load.label}, by bitfrontier"
    return {
        "version": VERSION,
        "run": {
            "uid": digest([trial.key, speed.load])[:32],
            "eid": digest([about["name"], about["plan"]])[:32],
            "description": described,
            "keywords": ["bitfrontier", trial.method_label, trial.engine],
        },
        "scenario": {"stack": [_engine(trial)], "load": _load(about, speed.load)},
        "results": {"request_performance": {"aggregate": _aggregate(speed)}},
    }


def _engine(trial: Trial) -> dict[str, Any]:
    """A cell on a CPU has no accelerator, which the format's inference engine asks for; it is of the generic kind."""
    version = str(trial.facts.get("version") or trial.provenance.get("engine_version") or "unknown")
    standard: dict[str, Any] = {"kind": "generic", "tool": trial.engine, "tool_version": version}
    standard |= {"model": {"name": trial.model}, "method": trial.method_label, "device": trial.device}
    known = trial.checkpoint or {}
    checkpoint = {name: known[name] for name in ("key", "spec", "bits_per_weight", "bytes") if name in known}
    return {
        "metadata": {"label": trial.name, "cfg_id": digest([trial.server, trial.method_label])[:32]},
        "standardized": standard,
        "native": {"args": dict(trial.engine_options), "config": {"checkpoint": checkpoint}},
    }


def _load(about: Mapping[str, Any], load: LoadPoint) -> dict[str, Any]:
    standard: dict[str, Any] = {
        "tool": "bitfrontier",
        "tool_version": str(about["versions"].get("bitfrontier", "unknown")),
        "source": "sampled" if load.source else "random",
        "input_seq_len": {"distribution": "other" if load.source else "fixed", "value": load.prompt_tokens},
        "output_seq_len": {"distribution": "other" if load.trace else "fixed", "value": load.output_tokens},
    }
    if load.concurrency is not None:
        standard["concurrency"] = load.concurrency
    else:
        standard["rate_qps"] = load.rate_per_second
    if load.turns > 1:
        standard["multi_turn"] = {"max_turns": {"distribution": "fixed", "value": load.turns}}
    return {"metadata": {"description": load.label}, "standardized": standard, "native": {"config": vars(load)}}


def _aggregate(speed: Speed) -> dict[str, Any]:
    requests, counted = [request for repeat in speed.repeats for request in repeat], steady(speed)
    output, prompt, finished = zip(*(steady_rates(repeat) for repeat in speed.repeats), strict=True)
    totals = [a + b for a, b in zip(output, prompt, strict=True)]
    return {
        "requests": {
            "total": len(requests),
            "failures": 0,
            "input_length": _statistics("count", [request.prompt_tokens for request in requests]),
            "output_length": _statistics("count", [request.output_tokens for request in requests]),
        },
        "latency": dict(_latencies(counted.started, counted.ended)),
        "throughput": {
            "input_token_rate": _statistics("tokens/s", prompt),
            "output_token_rate": _statistics("tokens/s", output),
            "total_token_rate": _statistics("tokens/s", totals),
            "request_rate": _statistics("queries/s", finished),
        },
    }


def _latencies(started: Sequence[Any], ended: Sequence[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "time_to_first_token", _statistics("s", [request.ttft_seconds for request in started])
    tpot = [seconds for request in ended if (seconds := request.tpot_seconds) is not None]
    if tpot:
        yield "time_per_output_token", _statistics("s/token", tpot)
    yield "request_latency", _statistics("s", [request.end_seconds - request.start_seconds for request in ended])


def _statistics(units: str, values: Sequence[float]) -> dict[str, Any]:
    data = np.asarray(values, dtype=np.float64)
    spread = {"stddev": float(data.std(ddof=1))} if len(data) > 1 else {}
    percentiles = {f"p{percent}": float(np.percentile(data, percent)) for percent in PERCENTS}
    ends = {"min": float(data.min()), "max": float(data.max())}
    return {"units": units, "mean": float(data.mean()), **spread, **ends, **percentiles}
