"""`python -m scripts.plan_schema`: write configs/plan.schema.json, the JSON Schema of plans, for editors.

It is generated from the models of flows/plan, from what methods and engines declare, and from the sentences of
scripts/plan_keys.yaml. It holds a plan's shape; what a plan names is checked by `bitfrontier plan`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from engines.registry import engines_by_name
from engines.runtime.own_packages import CONFIGS, ROOT
from flows.plan.base import MOST_THREADS, Part
from flows.plan.load import presets, workloads
from flows.plan.samples import SCHEMA_FILE
from flows.plan.schema import Plan
from flows.validate.parameters import parameters_model
from quant.canonical_json import write_whole
from quant.registry import methods

FILE = CONFIGS / SCHEMA_FILE
KEYS = ROOT / "scripts" / "plan_keys.yaml"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def plan_schema() -> Schema:
    schema: Schema = without_titles(Plan.model_json_schema())
    sentences: dict[str, dict[str, str]] = yaml.safe_load(KEYS.read_text(encoding="utf-8"))
    parts: dict[str, Schema] = {"Plan": schema, **schema["$defs"]}
    for name, part in parts.items():
        for key, value in part.get("properties", {}).items():
            part["properties"][key] = {"description": sentences[name][key], **value}
    threads = {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": MOST_THREADS}]}
    schema["properties"]["threads"] |= threads
    parts["EnginePlan"]["properties"]["env"]["additionalProperties"] = False  # but for names of variables
    _of_names(parts["MethodPlan"], "method", "parameters", {m.name: m.parameters for m in methods().values()})
    engines = {engine.name: engine.options for engine in engines_by_name().values()}
    _of_names(parts["EnginePlan"], "engine", "options", engines, lists=True)
    for name, key, names in (("LoadPlan", "workload", workloads()), ("SLOPlan", "preset", presets())):
        parts[name]["properties"][key]["anyOf"] = [{"enum": [*names]}, {"type": "null"}]
    counts = parts["LoadPlan"].pop("required")  # a workload may have them
    parts["LoadPlan"]["anyOf"] = [{"required": counts}, {"required": ["workload"]}]
    for name, key in _text_keys(Part):
        if name in schema["$defs"]:
            value = parts[name]["properties"][key]
            text = {kind: value[kind] for kind in ("enum", "anyOf") if kind in value}
            text |= {"type": "string", "description": f"The same as `{{{key}: …}}`."}
            schema["$defs"][name] = {"anyOf": [text, parts[name]]}
    return {"$schema": DIALECT, "title": "A plan of bitfrontier", **schema}


def _text_keys(part: type[Part]) -> Iterator[tuple[str, str]]:
    """The parts in whose place a text may stand, with the key that it is the value of."""
    for inner in part.__subclasses__():
        if inner.text_key:
            yield inner.__name__, inner.text_key
        yield from _text_keys(inner)


def without_titles(value: Any) -> Any:
    """Pydantic's titles repeat the keys' names."""
    if isinstance(value, list):
        return [without_titles(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: without_titles(item) for key, item in value.items() if key != "title" or not isinstance(item, str)}


def _of_names(part: Schema, key: str, inner: str, known: Mapping[str, Any], *, lists: bool = False) -> None:
    """Offer the names of `known` for `key` (a plug-in may have another), and hold `inner` to what each declares."""
    part["properties"][key] |= {"anyOf": [{"enum": [*known]}, {"type": "string"}]}
    part["allOf"] = [
        {
            "if": {"properties": {key: {"const": name}}, "required": [key]},
            "then": {"properties": {inner: _declared(parameters_model(tuple(parameters)), lists=lists)}},
        }
        for name, parameters in known.items()
    ]


def _declared(model: type[BaseModel], *, lists: bool) -> Schema:
    """What a method's parameters or an engine's options may be; with `lists`, several values of each, too."""
    schema: Schema = without_titles(model.model_json_schema())
    if lists:
        schema["properties"] = {
            name: {"anyOf": [value, {"type": "array", "items": value}]}
            for name, value in schema.get("properties", {}).items()
        }
    return schema


def text() -> str:
    return json.dumps(plan_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_whole(FILE, text())
    print(FILE.relative_to(ROOT))
