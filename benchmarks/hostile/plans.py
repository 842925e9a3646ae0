"""Plans: YAML at its edges, wrong values at every key of the shipped configurations, values that cannot work."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from benchmarks.hostile.case import NUMBERS, Case, Draw, any_value, change, damage, places
from engines.runtime.own_packages import CONFIGS
from tests.support.bad_plans.all_kinds import BAD
from tests.support.bad_plans.changes import GOOD

PLANS = ("plan", "plan", "plan", "plan --json", "-v plan")
SCALARS = (
    "2026-02-31",
    "2026-13-45T25:61:61Z",
    "0000-00-00",
    "9999-12-31T23:59:59.999999999999+99:99",
    "0x_",
    "0b_",
    "0o_",
    "0o9",
    "0x",
    "-0x_",
    "1__2",
    "_1",
    "1:60:61",
    "190:20:30.15",
    "+.e1",
    ".e+",
    "1e",
    "1e99999",
    "-.inf",
    ".inf",
    ".nan",
    ".NaN",
    "~",
    "=",
    "<<",
    "!!python/object/apply:os.system [id]",
    "!!binary x",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!timestamp x",
    "!!int x",
    "!!float x",
    "!!bool x",
    "!!null x",
    "!!map x",
    "!!seq x",
    "!<!> x",
    "!unknown x",
    "*nothing",
    "&a [*a]",
    "&a {a: *a}",
    "{<<: [1]}",
    "{<<: *b}",
    "{? {a: 1} : 2}",
    "{? [a] : 2}",
    "{1: 2, 1.0: 3, true: 4, null: 5}",
    "{a: 1, a: 2}",
    '"\\x00"',
    '"\\ud800"',
    '"\\U00110000"',
    '"\\x1b[2J"',
    '"\\N\\_\\L\\P"',
    "'",
    '"',
    "|99\n  x",
    "|0",
    ">-+\n x",
    "@",
    "`",
    "%",
    "[",
    "{",
    "]",
    "- - - x",
    "? ? ? x",
    ": : :",
    "\t- x",
    "--- x\n--- y",
    "... x",
    "%YAML 9.9\n---\nx",
    "%TAG ! x\n---\n!y z",
    "#" * 5000,
)


def _bomb(draw: Draw) -> str:
    depth, width = draw.choice((5, 9, 30)), draw.choice((2, 9))
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    return "\n".join([*lines, f"name: *a{depth - 1}", ""])


def _merges(draw: Draw) -> str:
    depth = draw.choice((5, 20, 200))
    lines = ["m0: &m0 {k0: 1}"] + [f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}], k{n}: 1}}" for n in range(1, depth)]
    return "\n".join([*lines, ""])


def _nested(draw: Draw) -> str:
    depth = draw.choice((10, 100, 400, 990, 5000, 100_000))
    left, right = draw.choice(
        (("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("a:\n", ""), ("!x ", ""), ("&a ", ""))
    )
    return "name: " + left * depth + "x" + right * depth + "\n"


def _digits(draw: Draw) -> str:
    digits = draw.choice((300, 4299, 4300, 4301, 100_000))
    form = draw.choice(("{}", "-{}", "0x{}", "0.{}", "{}.0", "1e{}", "0o{}", "{}e-9999"))
    return form.format(draw.choice("17") * digits)


def yaml_edges(draw: Draw, folder: Path) -> Case:
    """A scalar that YAML reads strangely in the place of any value; or a text that is strange as a whole."""
    way = draw.randrange(10)
    if way < 6:
        plan = copy.deepcopy(GOOD)
        path = draw.choice(places(plan)[1:])
        parent: Any = plan
        for part in path[:-1]:
            parent = parent[part]
        parent[path[-1]] = "PLACE"
        about = scalar = _digits(draw) if way == 0 else draw.choice(SCALARS)
        text = yaml.safe_dump(plan, sort_keys=False).replace("PLACE", scalar)
        if draw.random() < 0.1:
            text += f"{scalar}: {scalar}\n"
    else:
        text = (_bomb, _merges, _nested, lambda d: d.choice(SCALARS))[way - 6](draw)
        about = text[:60]
        if draw.random() < 0.5:
            text = yaml.safe_dump(GOOD, sort_keys=False) + text
    return _plan(text.encode(errors="surrogatepass"), about, draw, folder)


def yaml_bytes(draw: Draw, folder: Path) -> Case:
    """The bytes of a good plan, damaged."""
    content, about = damage(yaml.safe_dump(GOOD, sort_keys=False).encode(), draw)
    return _plan(content, about, draw, folder)


def shipped_plans(draw: Draw, folder: Path) -> Case:
    """A plan that we ship with a value of a wrong type, or none, or twice, at any of its keys."""
    file = draw.choice(sorted(CONFIGS.glob("*.yaml")))
    document, about = change(yaml.safe_load(file.read_text(encoding="utf-8")), draw)
    return _plan(_dumped(document), f"{file.stem}: {about}", draw, folder)


def bad_plans(draw: Draw, folder: Path) -> Case:
    """A plan that the tests know as bad, changed once more."""
    document = copy.deepcopy(GOOD)
    name = draw.choice(sorted(BAD))
    BAD[name][0](document)
    document, about = change(document, draw)
    return _plan(_dumped(document), f"{name}, {about}", draw, folder)


def _set(key: str, value: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GOOD), key: value}


OPTIONS = (
    ("transformers", "max_batch"),
    ("vllm", "max_num_seqs"),
    ("vllm", "kv_cache_gib"),
    ("vllm", "gpu_memory_utilization"),
    ("vllm", "tensor_parallel"),
    ("llama_cpp", "parallel"),
    ("llama_cpp", "batch"),
    ("sglang", "mem_fraction_static"),
    ("openvino", "threads"),
    ("openvino", "kv_cache_gib"),
    ("ollama", "parallel"),
)
PARAMETERS = (
    ("rtn", "group_size"),
    ("gptq", "group_size"),
    ("gptq", "dampening_frac"),
    ("smoothquant", "smoothing_strength"),
    ("awq", "group_size"),
    ("autoround", "iterations"),
)


def out_of_range(draw: Draw, folder: Path) -> Case:
    """Numbers that no key can work with, typed parameters and options among them; and far too many values."""
    number: Any = draw.choice((*NUMBERS, 30, 1024, 65536, 10**6, 10**9))
    engine, option = draw.choice(OPTIONS)
    method, parameter = draw.choice(PARAMETERS)
    load = {"concurrency": 1, "requests": 2, "prompt_tokens": 8, "output_tokens": 4}
    key = draw.choice([*load, "rate_per_second", "turns", "shared_prefix_tokens", "max_repeats", "arrival_cv"])
    wide = [draw.choice((1, 2, 5, 10**6)) + n for n in range(draw.choice((2, 30, 300, 3000)))]
    changed = draw.choice(
        (
            _set("engines", [{"engine": engine, "options": {option: number}}]),
            _set("engines", [{"engine": "vllm", "options": {"max_num_seqs": wide, "kv_cache_gib": wide}}]),
            _set(
                "engines",
                [{"engine": "vllm", "options": dict.fromkeys(("max_num_seqs", "kv_cache_gib", "dtype"), wide)}],
            ),
            _set("methods", [{"method": "none"}, {"method": method, "parameters": {parameter: number}}]),
            _set("methods", [{"method": "none"}, {"method": "gptq", "seeds": wide}]),
            _set("methods", [{"method": "none"}, {"method": "gptq", "calibration": {"samples": number}}]),
            _set("load", [{**load, key: number}]),
            _set("load", [load] * len(wide)),
            _set("tasks", [{"task": "arc_easy", "limit": number, "num_fewshot": draw.choice(NUMBERS)}]),
            _set("seed", number),
            _set("repeats", number),
            _set("threads", number),
            _set("max_length", number),
            _set("calibration", {"text": "text.txt", draw.choice(("samples", "length", "seed")): number}),
            _set("kl_divergence", [{draw.choice(("count", "length", "positions", "answer_tokens")): number}]),
            _set("perplexity", [{draw.choice(("max_length", "max_tokens")): number}]),
            _set("memory", {draw.choice(("gib", "context_tokens")): [number] * draw.choice((1, 2, 1000))}),
            _set("price", {"per_device_hour": number}),
            _set("slo", {"ttft_ms": number, "percentile": draw.choice(NUMBERS)}),
            _set("time_limits", {draw.choice(("build_hours", "quantize_hours", "cell_hours", "load_minutes")): number}),
            _set(
                "engines",
                [
                    {
                        "engine": "vllm",
                        "attach": {"url": f"http://127.0.0.1:{number}/v1", "model": "m"},
                        "methods": ["none"],
                    }
                ],
            ),
            _set("engines", [{"engine": "vllm", "env": {"X": str(number)}, "arguments": [str(number)] * len(wide)}]),
            _set("environments", {"vllm-cpu": {"image": "x", "gpus": [number]}}),
            _set("name", str(number)),
            _set("models", ["tiny"] * len(wide)),
        )
    )
    return _plan(_dumped(changed), f"{engine} {option}, {method} {parameter}, {key} = {number!r:.30}", draw, folder)


def hostile_texts(draw: Draw, folder: Path) -> Case:
    """A text of the plan that is markup, escapes, a path or a name that is none."""
    document = copy.deepcopy(GOOD)
    document["engines"].append({"engine": "vllm", "methods": ["none"], "env": {"A": "b"}, "arguments": ["--x"]})
    document["methods"].append({"method": "existing", "name": "x", "parameters": {"checkpoint": "tiny"}})
    document["kl_divergence"] = [{"prompts": "text.txt"}]
    document["environments"] = {"vllm-cpu": {"python": "/usr/bin/python3"}}
    texts = [path for path in places(document) if path and isinstance(_at(document, path), str)]
    path = draw.choice(texts)
    _at(document, path[:-1])[path[-1]] = text = str(any_value(draw, 0))
    return _plan(_dumped(document), f"{path} = {text!r:.60}", draw, folder)


def _at(document: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        document = document[part]
    return document


def _dumped(document: Any) -> bytes:
    return str(yaml.dump(document, sort_keys=False, allow_unicode=True)).encode(errors="surrogatepass")


def _plan(content: bytes, about: str, draw: Draw, folder: Path) -> Case:
    (folder / "plan.yaml").write_bytes(content)
    return Case((*draw.choice(PLANS).split(), "plan.yaml"), about)
