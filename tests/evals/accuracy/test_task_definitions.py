from __future__ import annotations

from pathlib import Path

import lm_eval.tasks
import pytest

import evals.accuracy.task_definitions
from evals.accuracy.lm_eval_tasks import TaskSpec, _leaves, _lm_evals_index
from evals.accuracy.task_definitions import _of_lm_eval, own_files, task_index
from evals.data.local_root import DataError
from tests.support.own_tasks import CHOICE, write_own_tasks, write_task


def test_names_are_known_without_importing_lm_eval() -> None:
    known = task_index()
    assert known.names["arc_easy"].kind == "task"
    assert known.names["mmlu"].kind == "group"
    assert known.tags["ai2_arc"] == ("arc_challenge", "arc_easy")


def test_names_and_tags_are_those_of_lm_evals_own_index() -> None:
    from lm_eval.tasks._index import TaskIndex

    home, known = Path(lm_eval.tasks.__file__).parent, task_index()
    entries = TaskIndex.build([home])
    tagged = {name: entry for name, entry in entries.items() if entry.kind.name == "TAG"}
    assert {name: (each.kind, each.file) for name, each in known.names.items()} == {
        name: ("group" if entry.kind.name == "GROUP" else "task", entry.yaml_path)
        for name, entry in entries.items()
        if name not in tagged
    }
    assert known.tags == {name: tuple(sorted(entry.tags)) for name, entry in tagged.items()}
    assert len(known.names) > 10_000
    assert len(known.tags) > 500


def test_without_lm_eval_the_fix_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    _of_lm_eval.cache_clear()
    try:
        with pytest.raises(DataError, match="lm-eval is not installed"):
            task_index()
    finally:
        _of_lm_eval.cache_clear()


@pytest.mark.parametrize(
    ("name", "num_fewshot", "generates"),
    [("gsm8k", 5, True), ("arc_easy", 0, False), ("mmlu_pro", 5, True), ("mmlu", 0, False), ("openllm", None, True)],
)
def test_a_definition_says_how_it_is_asked(name: str, num_fewshot: int | None, generates: bool) -> None:
    defaults = task_index().defaults(name)
    assert (defaults.common_num_fewshot, defaults.generates) == (num_fewshot, generates)


@pytest.mark.parametrize("name", ["gsm8k", "mmlu", "leaderboard_math_hard", "bbh", "minerva_math", "afrobench"])
def test_lm_evals_own_index_says_the_same(name: str) -> None:
    """`mmlu` names its leaves by tags, `afrobench` by tags of tasks in several folders."""
    known = task_index()
    manager, _ = _lm_evals_index([TaskSpec(name)], known)
    asked = {leaf.name: leaf.config.get("num_fewshot") or 0 for leaf in _leaves(manager, name, {})}
    assert asked == {leaf.name: leaf.config.get("num_fewshot") or 0 for leaf in known.leaves(name)}


def test_a_name_that_lm_eval_does_not_know() -> None:
    with pytest.raises(DataError, match="lm-eval has no task 'arc_esay'"):
        task_index().defaults("arc_esay")


@pytest.mark.parametrize(
    "name", ["humaneval", "mbpp", "cruxeval_input", "longproc", "score_robustness", "humaneval_plus"]
)
def test_a_task_that_runs_answers_is_known(name: str) -> None:
    assert task_index().defaults(name).runs_answers


@pytest.mark.parametrize("name", ["gsm8k", "mmlu", "hellaswag", "ifeval", "minerva_math", "bbh", "truthfulqa_gen"])
def test_other_tasks_read_answers(name: str) -> None:
    assert not task_index().defaults(name).runs_answers


def test_own_definitions_are_known_beside_lm_evals(tmp_path: Path) -> None:
    own = write_own_tasks(tmp_path / "tasks")
    known = task_index(own)
    assert {name for name, definition in known.names.items() if definition.own} == {"capitals", "capitals_two", "towns"}
    assert known.expanded("capital_tag") == ("capitals", "capitals_two")
    assert known.expanded("mmlu") == ("mmlu",)
    assert [leaf.name for leaf in known.leaves("towns")] == ["capitals", "capitals_two", "arc_easy"]
    assert known.data_sets("towns") == {"allenai/ai2_arc"}
    assert "capitals" not in task_index().names


def test_an_own_definition_stands_instead_of_lm_evals(tmp_path: Path) -> None:
    write_task(tmp_path / "arc_easy.yaml", **{**CHOICE, "num_fewshot": 3, "tag": "ai2_arc"})
    known = task_index(tmp_path)
    assert known.defaults("arc_easy").common_num_fewshot == 3
    assert known.tags["ai2_arc"] == ("arc_easy",)


def test_an_edited_definition_is_read_again(tmp_path: Path) -> None:
    for shots in (1, 2):
        write_task(tmp_path / "mine.yaml", **CHOICE, num_fewshot=shots)
        assert task_index(tmp_path).defaults("mine").common_num_fewshot == shots


def test_an_own_task_that_runs_answers_is_known(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: mine\nprocess_results: !function checks.run\n")
    (tmp_path / "checks.py").write_text("def run(doc, results):\n    return exec(results[0])\n")
    assert task_index(tmp_path).defaults("mine").runs_answers


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("mine.yaml", "task: mine\nx: [1, 2\n", r"mine\.yaml: cannot be read \(ParserError: .*\)\. Correct this def"),
        ("mine.yaml", "task: mine\ninclude: other.yaml\n", r"other\.yaml: cannot be read \(FileNotFoundError"),
        ("mine.yaml", "task: mine\ninclude: mine.yaml\n", r"mine\.yaml: cannot be read \(RecursionError"),
        ("checks.py", "def f(:\n", r"checks\.py: cannot be read \(SyntaxError: .*\)\. Correct it: task definitions"),
    ],
)
def test_an_own_definition_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / "mine.yaml").write_text("task: mine\nprocess_results: !function checks.f\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=words):
        task_index(tmp_path).defaults("mine")


def test_a_folder_of_far_more_than_tasks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_own_tasks(tmp_path / "tasks")
    (tmp_path / "tasks" / "__pycache__").mkdir()
    (tmp_path / "tasks" / "__pycache__" / "x.pyc").touch()
    assert len(own_files(tmp_path / "tasks")) == 5
    monkeypatch.setattr(evals.accuracy.task_definitions, "MOST_OWN_FILES", 4)
    with pytest.raises(DataError, match=r"tasks holds more than 4 files\. Give a folder of task definitions alone"):
        task_index(tmp_path / "tasks")
