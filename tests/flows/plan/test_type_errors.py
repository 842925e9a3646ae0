"""Values of another type than a key takes, as people write them: the fix is what they meant."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from flows.plan.source import PlanError, load_plan
from flows.validate.plan import check
from tests.support.bad_plans.changes import GOOD


def _plan(folder: Path, key: str, written: str) -> Path:
    """The good plan with `key` as it is written here."""
    text = yaml.safe_dump({**GOOD, key: "@@"}, sort_keys=False).replace("'@@'", written)
    (folder / "plan.yaml").write_text(text, encoding="utf-8")
    return folder / "plan.yaml"


@pytest.mark.parametrize(
    ("key", "written", "message", "fix"),
    [
        ("methods", "[none]", "'methods[0]' must have keys, but it is 'none'", "write `{method: none}`"),
        ("methods", "none", "'methods' must be a list, but it is 'none'", "write `[{method: none}]`"),
        ("methods", "{method: none}", "'methods' must be a list", "begin it with `- `"),
        ("methods", "[[none]]", "'methods[0]' must have keys, but it is ['none']", "give its keys under it"),
        ("engines", "[transformers]", "'engines[0]' must have keys", "write `{engine: transformers}`"),
        ("tasks", "arc_easy", "'tasks' must be a list", "write `[{task: arc_easy}]`"),
        ("load", "[chat]", "'load[0]' must have keys", "write `{workload: chat}`"),
        ("slo", "chat", "'slo' must have keys", "write `{preset: chat}`"),
        ("perplexity", "[papers]", "'perplexity[0]' must have keys", "write `{convention: papers}`"),
        ("models", "smol", "'models' must be a list", "write `[smol]`"),
        ("models", "~", "'models' has no value", "give one, or remove it"),
        ("models", "[~]", "'models[0]' has no value", "give one, or remove it"),
        ("seed", "~", "'seed' has no value", "give one, or remove it"),
        ("seed", "", "'seed' has no value", "give one, or remove it"),
        ("calibration", "~", "'calibration' has no value", "give one, or remove it"),
        ("limits", "{kl_nats: '5e-3'}", "must be a number, but it is the text '5e-3'", "write 5e-3 without quotes"),
        ("repeats", "3.0", "'repeats' must be a whole number, but it is 3.0", "write 3"),
        ("name", "5e-3", "'name' must be a text, but it is 0.005", "put quotes around it"),
        ("environments", "[]", "'environments' must have keys, but it is []", "give its keys under it"),
    ],
)
def test_the_fix_is_what_was_meant(tmp_path: Path, key: str, written: str, message: str, fix: str) -> None:
    with pytest.raises(PlanError) as raised:
        load_plan(_plan(tmp_path, key, written))
    problems = [(problem.message, problem.fix) for problem in raised.value.problems]
    assert any(message in given and fix in remedy for given, remedy in problems), problems


@pytest.mark.parametrize("written", ["~", "'5e-3'"])
def test_parameters_speak_alike(tmp_path: Path, tiny_model: Path, written: str) -> None:
    (tmp_path / "text.txt").write_text("a b c d " * 2000)
    methods = copy.deepcopy(GOOD["methods"])
    methods[2]["parameters"]["dampening_frac"] = "@@"
    text = yaml.safe_dump(methods, default_flow_style=True).strip().replace("'@@'", written)
    fix = "give one, or remove it" if written == "~" else "write 5e-3 without quotes"
    with pytest.raises(PlanError, match=rf"'methods\[2\]\.parameters\.dampening_frac' .*\n  fix: {fix}"):
        check(load_plan(_plan(tmp_path, "methods", text)))


@pytest.mark.parametrize(("written", "value"), [("5e-3", 0.005), ("5E-3", 0.005), (".5", 0.5), ("1e3", 1000)])
def test_numbers_may_have_exponents(tmp_path: Path, written: str, value: float) -> None:
    assert load_plan(_plan(tmp_path, "limits", f"{{kl_nats: {written}}}")).plan.limits.kl_nats == value


def test_a_whole_number_may_have_an_exponent(tmp_path: Path) -> None:
    assert load_plan(_plan(tmp_path, "max_length", "2e3")).plan.max_length == 2000
