"""Values of another type than a key takes, as people write them: the fix is what they meant."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import yaml

from flows.plan.schema import Plan
from flows.plan.source import PlanError, load_plan
from flows.validate.plan import check, load_and_check
from tests.support.bad_plans.changes import GOOD


def _plan(folder: Path, key: str, written: str) -> Path:
    """The good plan with `key` as it is written here."""
    text = yaml.safe_dump({**GOOD, key: "@@"}, sort_keys=False).replace("'@@'", written)
    (folder / "plan.yaml").write_text(text, encoding="utf-8")
    return folder / "plan.yaml"


@pytest.mark.parametrize(
    ("key", "written", "message", "fix"),
    [
        ("methods", "none", "'methods' must be a list, but it is 'none'", "write `[none]`"),
        ("methods", "{method: none}", "'methods' must be a list", "begin it with `- `"),
        ("methods", "[[none]]", "'methods[0]' must have keys, but it is ['none']", "give its keys under it"),
        ("tasks", "arc_easy", "'tasks' must be a list", "write `[arc_easy]`"),
        ("search", "[rate]", "'search[0]' must have keys", "give its keys under it"),
        ("models", "smol", "'models' must be a list", "write `[smol]`"),
        ("models", "~", "'models' has no value", "give one, or remove it"),
        ("models", "[~]", "'models[0]' has no value", "give one, or remove it"),
        ("seed", "~", "'seed' has no value", "give one, or remove it"),
        ("seed", "", "'seed' has no value", "give one, or remove it"),
        ("calibration", "~", "'calibration' has no value", "give one, or remove it"),
        ("limits", "{kl_nats: '5e-3'}", "must be a number, but it is the text '5e-3'", "write 5e-3 without quotes"),
        ("repeats", "3.0", "'repeats' must be a whole number, but it is 3.0", "write 3"),
        ("name", "5e-3", "'name' must be a text, but it is 0.005", "put quotes around it"),
        ("repeats", "abc", "'repeats' must be a whole number, but it is 'abc'", "value of `repeats` (1 to 100)"),
        ("accuracy", "{error_rate: 5}", "must be below 0.5, but it is 5 (5 % is 0.05)", "(above 0, below 0.5)"),
        ("limits", "{accuracy_recovery: 98}", "must be at most 1.5, but it is 98 (98 % is 0.98)", "at most 1.5"),
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


SHORT_FORMS = {
    "methods": ("[none, {method: rtn}]", "[{method: none}, {method: rtn}]"),
    "engines": ("[vllm]", "[{engine: vllm}]"),
    "tasks": ("[arc_easy]", "[{task: arc_easy}]"),
    "slo": ("llama-2-70b", "{preset: llama-2-70b}"),
    "perplexity": ("[strided]", "[{convention: strided}]"),
    "kl_divergence": ("[wikitext2]", "[{prompts: wikitext2}]"),
}


@pytest.mark.parametrize("key", SHORT_FORMS)
def test_a_text_stands_for_the_key_that_matters(tmp_path: Path, key: str) -> None:
    short, long = (load_plan(_plan(tmp_path, key, written)).plan for written in SHORT_FORMS[key])
    assert short == long


def test_a_workload_by_its_name_is_filled_from_its_file(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"'load\[0\]\.requests' is missing") as raised:
        load_plan(_plan(tmp_path, "load", "[chat]"))
    assert "prompt_tokens" not in str(raised.value)


WRONG_TYPES = (None, True, 3, 0.5, "text", [], [3], {}, {"a": 1})


@pytest.mark.parametrize("key", Plan.model_fields)
def test_no_error_speaks_of_classes(tmp_path: Path, key: str) -> None:
    """Neither of ours nor of pydantic's: errors name keys."""
    for value in WRONG_TYPES:
        (tmp_path / "plan.yaml").write_text(yaml.safe_dump({**GOOD, key: value}), encoding="utf-8")
        try:
            load_plan(tmp_path / "plan.yaml")
            words = key
        except PlanError as error:
            words = str(error)
        assert key in words
        assert not re.search(r"instance of|dictionary|\w+Plan\b|Part\b|nput should", words), words


def test_what_is_misspelt_and_what_is_unknown_is_said_at_once(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "text.txt").write_text("a b c d " * 2000)
    plan = {**GOOD, "repeats": "three", "methods": ["none", "gtpq"], "load": [{"concurrency": 1}], "bogus": 1}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")
    with pytest.raises(PlanError) as raised:
        load_and_check(tmp_path / "plan.yaml")
    for words in ("unknown method 'gtpq'", "unknown key 'bogus'", "'load[0].requests' is missing", "'repeats' must be"):
        assert words in str(raised.value)
    assert "text.txt" not in str(raised.value)  # what is right is not said to be wrong


def test_a_misspelt_key_is_not_missing_too(tmp_path: Path) -> None:
    plan = {name: value for name, value in GOOD.items() if name != "tasks"}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump({**plan, "taskz": GOOD["tasks"]}), encoding="utf-8")
    with pytest.raises(PlanError) as raised:
        load_plan(tmp_path / "plan.yaml")
    assert [problem.message for problem in raised.value.problems] == ["unknown key 'taskz'"]
