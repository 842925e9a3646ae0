"""Wrong engines, attached servers, devices, memory and prices."""

from __future__ import annotations

from tests.support.bad_plans.changes import Wrong, add_entry, set_key

ENGINES: dict[str, Wrong] = {
    "unknown key": (set_key("metods", value=[]), "unknown key 'metods'", "did you mean 'methods'?"),
    "unknown nested key": (
        set_key("load", 0, "concurency", value=1),
        "unknown key 'load[0].concurency'",
        "did you mean 'concurrency'?",
    ),
    "wrong type": (
        set_key("repeats", value="three"),
        "'repeats' must be a whole number",
        "change the value of `repeats`",
    ),
    "number as text": (
        set_key("load", 0, "requests", value="4"),
        "'load[0].requests' must be a number, but it is the text '4'",
        "write 4 without quotes",
    ),
    "nothing to attach to": (
        add_entry("engines", {"engine": "openai"}),
        "engine 'openai' starts no server",
        "add `attach: {url: …}`",
    ),
    "an url that is none": (
        add_entry("engines", {"engine": "openai", "attach": {"url": "http://[::1]evil.com/"}}),
        "engines[1].attach: `url` is not a server's address",
        "Write it as http://HOST:PORT",
    ),
    "no url": (
        add_entry("engines", {"engine": "openai", "attach": {"url": "localhost:8000"}}),
        "'engines[1].attach.url' must match the pattern",
        "change the value of `url`",
    ),
    "key not set": (
        add_entry(
            "engines",
            {
                "engine": "openai",
                "methods": ["none"],
                "attach": {"url": "https://x:1", "key_variable": "NO_SUCH_KEY_HERE"},
            },
        ),
        "the environment variable NO_SUCH_KEY_HERE is not set",
        "export NO_SUCH_KEY_HERE=",
    ),
    "a password in an address": (
        add_entry("engines", {"engine": "openai", "attach": {"url": "https://me:planted@x:1"}}),
        "engines[1].attach: `url` holds a user or password",
        "change the value",
    ),
    "a key in place of its variable": (
        add_entry("engines", {"engine": "openai", "attach": {"url": "https://x:1", "key_variable": "sk-planted"}}),
        "engines[1].attach: `key_variable` is not the name of a variable. Give the name, not the key itself",
        "change the value",
    ),
    "a key over http": (
        add_entry("engines", {"engine": "openai", "attach": {"url": "http://x:1", "key_variable": "AWS_SECRET_KEY"}}),
        "the key in AWS_SECRET_KEY would go unencrypted to another machine (http). Use https, or allow it by",
        "change the value",
    ),
    "a key over http to what looks like this machine": (
        add_entry("engines", {"engine": "openai", "attach": {"url": "http://127.0.0.1.x:1", "key_variable": "KEY"}}),
        "would go unencrypted to another machine (http)",
        "change the value",
    ),
    "attached to many checkpoints": (
        add_entry("engines", {"engine": "vllm", "attach": {"url": "http://x:1"}}),
        "an attached server serves one checkpoint, and this entry has 3",
        "name the checkpoint it serves",
    ),
    "attached without baseline": (
        add_entry("engines", {"engine": "openai", "methods": ["rtn"], "attach": {"url": "http://x:1"}}),
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
        "'engines[0].options.max_num_seqs' must be at least 1, but it is 0",
        "bitfrontier engines vllm",
    ),
    "an argument that is set here": (
        set_key("engines", 0, value={"engine": "vllm", "arguments": ["--kv-cache-dtype", "fp8"]}),
        "engine 'vllm': --kv-cache-dtype is set by bitfrontier",
        "remove it; the options of 'vllm' are listed by `bitfrontier engines vllm`",
    ),
    "a variable that is set here": (
        set_key("engines", 0, value={"engine": "vllm", "env": {"HF_HUB_OFFLINE": "0"}}),
        "engine 'vllm': HF_HUB_OFFLINE is set by bitfrontier",
        "remove it",
    ),
    "an argument under another spelling": (
        set_key("engines", 0, value={"engine": "vllm", "arguments": ["--max_model_len=9999"]}),
        "engine 'vllm': --max_model_len is set by bitfrontier",
        "remove it",
    ),
    "an argument under a short name": (
        set_key("engines", 0, value={"engine": "vllm", "arguments": ["-tp", "2"]}),
        "engine 'vllm': -tp is a short name: write the long one",
        "remove it",
    ),
    "arguments of a program of ours": (
        set_key("engines", 0, value={"engine": "transformers", "arguments": ["--flash-attn", "on"]}),
        "engine 'transformers': engines.launchers.transformers_server takes no other arguments than its options",
        "bitfrontier engines transformers",
    ),
    "a variable that decides where a server runs": (
        set_key("engines", 0, value={"engine": "vllm", "env": {"CUDA_VISIBLE_DEVICES": "1"}}),
        "engine 'vllm': CUDA_VISIBLE_DEVICES is set by bitfrontier",
        "remove it",
    ),
    "a secret in a plan": (
        set_key("engines", 0, value={"engine": "vllm", "env": {"HF_TOKEN": "hf_0123456789"}}),
        "engine 'vllm': HF_TOKEN would stand in keys, names and results with its value",
        "remove it",
    ),
    "a variable that is none": (
        set_key("engines", 0, value={"engine": "vllm", "env": {"A B": "0"}}),
        "must match the pattern",
        "change the value",
    ),
    "arguments of an attached server": (
        add_entry(
            "engines", {"engine": "openai", "methods": ["none"], "arguments": ["--x"], "attach": {"url": "http://x:1"}}
        ),
        "an attached server is not started here: `arguments` and `env` have no effect",
        "give them where that server is started",
    ),
    "a list with a value twice": (
        set_key("engines", 0, value={"engine": "vllm", "options": {"max_num_seqs": [8, 8]}}),
        "engine 'vllm' appears twice with equal options",
        "remove one",
    ),
    "a list of an attached server": (
        add_entry(
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
        "'price.per_device_hour' must be above 0",
        "change the value of `per_device_hour`",
    ),
    "tokens for nothing": (
        set_key("price", value={"per_device_hour": 1, "currency": "USD", "max_cost_per_million_tokens": 0}),
        "'price.max_cost_per_million_tokens' must be above 0",
        "change the value of `max_cost_per_million_tokens`",
    ),
    "a price without end": (
        set_key("price", value={"per_device_hour": float("inf"), "currency": "USD"}),
        "price.per_device_hour: it must be a finite number",
        "change the value of `per_device_hour`",
    ),
    "a price of nothing known": (
        set_key("price", value={"per_device_hour": 2.5}),
        "'price.currency' is missing",
        "add `currency:`",
    ),
    "a currency of four letters": (
        set_key("price", value={"per_device_hour": 2.5, "currency": "Euro"}),
        "'price.currency' must match the pattern",
        "change the value of `currency`",
    ),
    "option without effect": (
        add_entry("engines", {"engine": "deepspeed", "options": {"quant": True}}),
        "DeepSpeed-Inference ignores its `quant` settings",
        "remove that option",
    ),
    "unknown engine": (set_key("engines", 0, "engine", value="vlm"), "unknown engine 'vlm'", "did you mean 'vllm'?"),
    "unknown option": (
        set_key("engines", 0, "options", value={"max_bach": 3}),
        "'transformers' has no parameter 'max_bach'",
        "did you mean 'max_batch'?",
    ),
    "engine twice": (
        add_entry("engines", {"engine": "transformers"}),
        "engine 'transformers' appears twice",
        "remove one",
    ),
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
        lambda plan: (
            add_entry("methods", {"method": "gguf"})(plan),
            add_entry("engines", {"engine": "llama_cpp"})(plan),
        ),
        "engine 'llama_cpp' loads no baseline of this plan",
        "add an unquantized method in the format 'gguf'",
    ),
}
