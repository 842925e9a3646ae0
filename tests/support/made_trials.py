"""Trials made by hand for tests of the conclusions. No figure here was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evals.schema.accuracy import Perplexity, Score
from evals.schema.load import LoadPoint, Request, Speed
from evals.schema.trial import Gate, Memory, Trial

ABOUT: dict[str, Any] = {
    "name": "made",
    "models": ["m"],
    "notes": [],
    "device": "a test",
    "threads": 1,
    "repeats": 2,
    "limits": {"accuracy_recovery": 0.9, "perplexity_ratio": 1.1},
    "accuracy": {"error_rate": 0.05},
    "memory_source": "PSS",
    "command": "none",
    "plan": "name: made",
    "versions": {"python": "3"},
    "trials": [],
}


def request(sent: float, first: float, step: float, tokens: int, prompt: int = 10) -> Request:
    chunks = tuple((first + step * i, i + 1) for i in range(tokens))
    return Request(sent, chunks, chunks[-1][0], prompt, tokens)


def speed(rate: float, concurrency: int = 1, wobble: float = 0.01) -> Speed:
    """Two repeats of two requests of 11 tokens that arrive at about `rate` tokens per second."""
    repeats = []
    for factor in (1 - wobble, 1 + wobble):
        step = 1 / (rate * factor)
        record = request(0.0, step, step, 11)
        repeats.append((record, request(record.end_seconds, record.end_seconds + step, step, 11)))
    return Speed(LoadPoint(concurrency, 2, 10, 11), tuple(repeats))


def score(task: str, values: Sequence[float], metric: str = "acc") -> Score:
    keys = tuple(f"{i}:d:p" for i in range(len(values)))
    return Score(task, task, 0, (metric,), keys, tuple((v,) for v in values), tuple((-v - 1.0,) for v in values))


def trial(
    method: str,
    rate: float,
    peak_gib: float,
    right: int,
    loss: float = 2.0,
    *,
    engine: str = "e",
    model: str = "m",
    label: str | None = None,
) -> Trial:
    """An ok trial: `right` of 100 answers right, the first ones; `loss` nats per token."""
    windows = tuple((-loss * (1 + 0.001 * i),) * 128 for i in range(8))
    size = int(peak_gib * 1024**3)
    weights = "float16" if method == "none" else "int4"
    checkpoint = {"bits_per_weight": 4.5, "spec": {"scheme": {"weights": weights}}}
    return Trial(
        key=f"{model}-{method}-{label}-{engine}",
        status="ok",
        reason="",
        model=model,
        method=method,
        method_label=label or method,
        engine=engine,
        device="a test",
        checkpoint=checkpoint,
        gates=(Gate("sanity", True, "fine"),),
        speed=(speed(rate),),
        memory=Memory("PSS", size, size, None, None, None),
        scores=(score("arc", [1.0] * right + [0.0] * (100 - right)),),
        perplexities=(Perplexity("papers", "t", 129, 129, windows),),
        seconds={"total": 1.0},
    )


def failed(method: str, reason: str, status: Any = "failed") -> Trial:
    return Trial(f"m-{method}", status, reason, "m", method, method, "e", "a test", None)
