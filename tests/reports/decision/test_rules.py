"""The table of rules: what its parts mean, that all of it is used, and that no code repeats it."""

from __future__ import annotations

import ast
import dataclasses
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.runtime.own_packages import ROOT
from evals.schema.slo import SLO
from evals.stats.intervals import Estimate
from reports.decision.ranking import FIGURES
from reports.decision.rules import CAVEATS, LIMITS, TABLE, THRESHOLDS, WORDS, holds, likely, place, verdict_of
from reports.decision.verdicts import Limits
from reports.metrics.cost import Price

SCRIPTS = sorted((ROOT / "reports" / "output" / "templates").glob("*.js"))
MODULES = sorted(file for package in ("reports", "flows") for file in (ROOT / package).rglob("*.py"))
GAP = r"(?:\$?\{[^{}]*\})"  # of a placeholder, as an f-string or a template literal has one


def _sentences(part: Any) -> Iterator[str]:
    """Of three words or more, besides its placeholders."""
    if isinstance(part, str):
        if len(re.sub(r"\{\w+\}", "", part).split()) >= 3:
            yield part
    elif isinstance(part, dict | list):
        for inner in part.values() if isinstance(part, dict) else part:
            yield from _sentences(inner)


SENTENCES = [*_sentences({name: part for name, part in TABLE.items() if name not in ("orders", "conditions")})]


def _of_module(file: Path) -> str:
    """Its texts, a line each, without docstrings; what an f-string fills in is a pair of braces."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docs = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {value for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for value in node.values}
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docs | inside:
            texts.append(node.value)
    return "\n".join(texts)


def _of_script(file: Path) -> str:
    """Without its comments."""
    return re.sub(r"/\*.*?\*/|(?:^|\s)//[^\n]*", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_no_sentence_of_the_table_is_written_in_code() -> None:
    assert len(SENTENCES) > 60
    texts = {file: _of_module(file) for file in MODULES} | {file: _of_script(file) for file in SCRIPTS}
    patterns = [re.compile(GAP.join(map(re.escape, re.split(r"\{\w+\}", sentence)))) for sentence in SENTENCES]
    repeated = [
        f"{file.relative_to(ROOT)}: {match.group()}"
        for file, text in texts.items()
        for pattern in patterns
        if (match := pattern.search(text))
    ]
    assert repeated == []


def test_no_threshold_of_the_table_is_written_in_a_script_that_evaluates_it() -> None:
    for name in ("rules.js", "judge.js", "conclude.js"):
        text = _of_script(ROOT / "reports" / "output" / "templates" / name)
        assert not set(re.findall(r"(?<![\w.])\d[\d.e]*", text)) & {"0.9", "1e9", "12", "0.05"}, name


def test_all_words_are_used_on_a_side_and_no_others() -> None:
    texts = "\n".join(file.read_text(encoding="utf-8") for file in (*MODULES, *SCRIPTS))
    named = {rule.unknown for rule in LIMITS.values()} | {f"engine_{v}" for v in TABLE["verdicts"]["worst_first"]}
    refusals = {f"no_answer{yet}{of}" for yet in ("", "_yet") for of in ("", "_of")}
    quoted = set(re.findall(r"\"(\w+)\"", texts))
    assert [name for name in WORDS if name not in quoted | named | refusals] == []
    asked = set(re.findall(r"\bsay\(\s*\"(\w+)\"", texts))
    assert asked - WORDS.keys() == set()


def test_a_limit_s_field_is_what_the_plan_calls_it() -> None:
    held = {"cell": Limits, "load": SLO, "rate": Price}
    for rule in LIMITS.values():
        assert rule.field in {field.name for field in dataclasses.fields(held[rule.of])}, rule.key
        assert rule.direction in TABLE["directions"]
        assert rule.unknown in ("", *WORDS)
    assert TABLE["objectives"].keys() == FIGURES.keys()


@pytest.mark.parametrize(
    ("direction", "low", "high", "verdict"),
    [
        ("at_least", 0.9, 1.0, "meets"),  # just so much
        ("at_least", 0.8, 0.9, "inconclusive"),
        ("at_least", 0.8, 0.89, "fails"),
        ("at_least", 0.95, math.inf, "meets"),
        ("at_most", 0.8, 0.9, "meets"),
        ("at_most", 0.9, 1.0, "inconclusive"),
        ("at_most", 0.91, 1.0, "fails"),
        ("at_most", -math.inf, math.inf, "inconclusive"),
    ],
)
def test_a_limit_of_0_9_by_the_ends_of_an_interval(direction: str, low: float, high: float, verdict: str) -> None:
    assert verdict_of(direction, Estimate(0.9, low, high, 9), 0.9) == verdict


def test_conditions_compare_figures_with_numbers_figures_and_thresholds() -> None:
    assert holds([], {})
    assert holds([("a", ">", 1), ("a", "<=", "b")], {"a": 2, "b": 2})
    assert not holds([("a", ">", 1), ("a", "!=", "b")], {"a": 2, "b": 2})
    assert holds([("yes", "==", 1), ("a", "<", "least_kept")], {"yes": True, "a": 0.8})
    least = THRESHOLDS["least_kept"]
    assert likely(least)
    assert not likely(math.nextafter(least, 0))


def test_an_order_goes_by_the_first_figure_that_differs() -> None:
    figures = {"good": True, "sure": True, "gain": 5.0, "place": 1}
    others = [{"place": 0}, {"gain": 6.0, "place": 9}, {"sure": False, "gain": 99.0}, {"good": False, "place": -9}]
    places = [place("cells", figures | other) for other in others]
    here = place("cells", figures)
    assert [there < here for there in places] == [True, True, False, False]


def test_every_caveat_has_conditions_or_a_list() -> None:
    assert all(bool(rule.when) != bool(rule.each) for rule in CAVEATS)
    assert len({rule.key for rule in CAVEATS}) == len(CAVEATS)
