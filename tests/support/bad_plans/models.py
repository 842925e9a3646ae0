"""Wrong names, models, methods and checkpoints, and their calibration."""

from __future__ import annotations

from tests.support.bad_plans.changes import Wrong, add_entry, drop_key, existing, set_key

MODELS: dict[str, Wrong] = {
    "missing models": (drop_key("models"), "'models' is missing", "add `models:`"),
    "missing name": (drop_key("name"), "'name' is missing", "add `name:`"),
    "name with slash": (
        set_key("name", value="../evil"),
        "'name' must match the pattern",
        "change the value of `name`",
    ),
    "threads of another kind": (
        set_key("threads", value="two"),
        "threads: must be `auto` or a whole number from 1 to 1024, but it is 'two'",
        "change the value",
    ),
    "more threads than there are": (
        set_key("threads", value=2000),
        "threads: must be `auto` or a whole number from 1 to 1024, but it is 2000",
        "change the value",
    ),
    "empty models": (
        set_key("models", value=[]),
        "'models' must have at least 1 entry",
        "change the value of `models`",
    ),
    "empty methods": (
        set_key("methods", value=[]),
        "'methods' must have at least 1 entry",
        "change the value of `methods`",
    ),
    "empty engines": (
        set_key("engines", value=[]),
        "'engines' must have at least 1 entry",
        "change the value of `engines`",
    ),
    "empty load": (set_key("load", value=[]), "'load' must have at least 1 entry", "change the value of `load`"),
    "empty tasks": (set_key("tasks", value=[]), "'tasks' must have at least 1 entry", "change the value of `tasks`"),
    "missing model folder": (set_key("models", 0, value="nowhere"), "nowhere does not exist", "hub:organisation/name"),
    "unknown sample": (set_key("models", 0, value="pypi:gpt9"), "no model sample 'pypi:gpt9'", "smollm2-135m-instruct"),
    "hub model offline": (
        set_key("models", 0, value="hub:nobody/nothing"),
        "hub model 'nobody/nothing' is not in the local cache",
        "give its folder",
    ),
    "bad hub name": (set_key("models", 0, value="hub:a/b/c"), "'a/b/c' is not a hub name", "hub:organisation/name"),
    "model twice": (add_entry("models", "tiny"), "model 'tiny' appears twice", "keep one of them"),
    "unknown method": (set_key("methods", 1, "method", value="rnt"), "unknown method 'rnt'", "did you mean 'rtn'?"),
    "parameter of another method": (
        set_key("methods", 1, "parameters", value={"smoothing_strength": 0.5}),
        "'rtn' has no parameter 'smoothing_strength'",
        "group_size",
    ),
    "parameter out of range": (
        add_entry("methods", {"method": "smoothquant", "parameters": {"smoothing_strength": 1.5}}),
        "smoothing_strength' must be at most 1",
        "bitfrontier methods smoothquant",
    ),
    "parameter of wrong type": (
        set_key("methods", 1, "parameters", "group_size", value="many"),
        "group_size' must be a whole number",
        "bitfrontier methods rtn",
    ),
    "parameter not among choices": (
        set_key("methods", 2, "parameters", "scheme", value="W3A16"),
        "scheme' must be 'W4A16' or 'W8A16'",
        "bitfrontier methods gptq",
    ),
    "group size that does not divide": (
        set_key("methods", 1, "parameters", "group_size", value=128),
        "group_size 128 does not divide the layer width 96 of tiny",
        "use 32",
    ),
    "default group size that does not divide": (
        set_key("methods", 1, value={"method": "rtn"}),
        "group_size 128 does not divide the layer width 96 of tiny",
        "use 32",
    ),
    "negative group size": (
        set_key("methods", 1, "parameters", "group_size", value=-64),
        "group_size' must be at least 0",
        "see `bitfrontier methods rtn`",
    ),
    "method twice": (
        add_entry("methods", {"method": "rtn", "parameters": {"group_size": 32}}),
        "method 'rtn' appears twice with equal parameters",
        "remove one",
    ),
    "label twice": (
        add_entry("methods", {"method": "gptq", "parameters": {"group_size": 32, "dampening_frac": 0.1}}),
        "two methods are both called 'gptq W4A16-g32'",
        "`name:`",
    ),
    "no checkpoint named": (
        add_entry("methods", {"method": "existing"}),
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
        lambda plan: (existing("gptq")(plan), add_entry("models", "other")(plan)),
        "is a checkpoint of one model (the plan has 2)",
        "keep only the model",
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
        "'calibration.length' must be at least 8",
        "change the value",
    ),
}
