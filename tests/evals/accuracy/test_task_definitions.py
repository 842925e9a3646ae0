from __future__ import annotations

import pytest

from evals.accuracy.lm_eval_tasks import TaskSpec, _asked, _index
from evals.accuracy.task_definitions import definitions, task_defaults
from evals.data.local_root import DataError


def test_names_are_known_without_importing_lm_eval() -> None:
    known = definitions()
    assert known["arc_easy"].kind == "task"
    assert known["mmlu"].kind == "group"
    assert len(known) > 10_000


def test_without_lm_eval_the_fix_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    definitions.cache_clear()
    try:
        with pytest.raises(DataError, match="lm-eval is not installed"):
            definitions()
    finally:
        definitions.cache_clear()


@pytest.mark.parametrize(
    ("name", "num_fewshot", "generates"),
    [("gsm8k", 5, True), ("arc_easy", 0, False), ("mmlu_pro", 5, True), ("mmlu", 0, False), ("openllm", None, True)],
)
def test_a_definition_says_how_it_is_asked(name: str, num_fewshot: int | None, generates: bool) -> None:
    defaults = task_defaults(name)
    assert (defaults.common_num_fewshot, defaults.generates) == (num_fewshot, generates)


@pytest.mark.parametrize("name", ["gsm8k", "mmlu", "leaderboard_math_hard", "bbh", "minerva_math"])
def test_lm_evals_own_index_says_the_same(name: str) -> None:
    """`mmlu` names its leaves by tags."""
    spec = TaskSpec(name)
    manager, _ = _index([spec])
    assert task_defaults(name).num_fewshot == {config.get("num_fewshot") or 0 for _, config in _asked(manager, spec)}


def test_a_name_that_lm_eval_does_not_know() -> None:
    with pytest.raises(DataError, match="lm-eval has no task 'arc_esay'"):
        task_defaults("arc_esay")


@pytest.mark.parametrize(
    "name", ["humaneval", "mbpp", "cruxeval_input", "longproc", "score_robustness", "humaneval_plus"]
)
def test_a_task_that_runs_answers_is_known(name: str) -> None:
    assert task_defaults(name).runs_answers


@pytest.mark.parametrize("name", ["gsm8k", "mmlu", "hellaswag", "ifeval", "minerva_math", "bbh", "truthfulqa_gen"])
def test_other_tasks_read_answers(name: str) -> None:
    assert not task_defaults(name).runs_answers
