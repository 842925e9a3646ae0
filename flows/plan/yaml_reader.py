"""The reader of plans: YAML 1.2 with the line of every value, and plain values alone."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, DuplicateKeyError, RoundTripConstructor, SafeConstructor
from ruamel.yaml.nodes import Node
from ruamel.yaml.scanner import RoundTripScanner

MOST_BRACKETS = 64


class PlanScanner(RoundTripScanner):
    """The round-trip scanner, which takes time in the square of how deeply brackets are nested: not beyond a limit."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:
        if self.flow_level >= MOST_BRACKETS:
            raise RecursionError
        super().fetch_flow_collection_start(TokenClass, to_push)


class PlanConstructor(RoundTripConstructor):
    """The round-trip constructor, which keeps lines and refuses duplicate keys, with the safe one's plain scalars.

    It also says where a scalar stands that YAML takes for a date or a number and cannot read, and refuses an alias
    that holds itself, which the round-trip constructor replaces by null.
    """

    def construct_object(self, node: Node, deep: bool = False) -> object:
        if node in self.recursive_objects:
            raise ConstructorError(problem="an alias contains itself", problem_mark=node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            text, mark = str(node.value)[:40], node.start_mark
            note = f'write "{text}" in quotes'
            raise ConstructorError(problem=f"{text!r} is no value: {error}", problem_mark=mark, note=note) from error

    def check_mapping_key(self, node: Node, key_node: Node, mapping: Any, key: Any, value: Any) -> bool:
        """As ruamel's own, whose error writes out both values, which aliases may have made endless."""
        if key in mapping:
            problem = f'found duplicate key "{str(key)[:80]}"'
            raise DuplicateKeyError(problem=problem, problem_mark=key_node.start_mark, note="keep one of them")
        return True

    def construct_number(self, node: Node) -> float:
        """A number; 1e3 is a whole one, as YAML 1.2's JSON schema has it."""
        value: float = SafeConstructor.construct_yaml_float(self, node)
        return int(value) if "." not in node.value and value.is_integer() else value


for _tag in ("null", "bool", "int", "str", "timestamp"):
    PlanConstructor.add_constructor(f"tag:yaml.org,2002:{_tag}", getattr(SafeConstructor, f"construct_yaml_{_tag}"))
PlanConstructor.add_constructor("tag:yaml.org,2002:float", PlanConstructor.construct_number)
PlanConstructor.add_constructor(None, SafeConstructor.construct_undefined)


def plan_yaml() -> YAML:
    """It reads plans, and writes what it read with the comments."""
    yaml = YAML()
    yaml.Scanner, yaml.Constructor = PlanScanner, PlanConstructor
    return yaml
