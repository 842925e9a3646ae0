"""A user's own folder of task definitions, as people write them for lm-eval's --include_path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import evals.tasks.own_definitions
from evals.data.local_root import DataError
from evals.tasks.own_definitions import own_files
from evals.tasks.task_index import task_index
from tests.support.own_tasks import CHOICE, write_own_tasks, write_task


def test_own_definitions_are_known_beside_lm_evals(tmp_path: Path) -> None:
    own = write_own_tasks(tmp_path / "tasks")
    known = task_index(own)
    assert {name for name, definition in known.names.items() if definition.own is not None} == {
        "capitals",
        "capitals_two",
        "towns",
    }
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
    "text",
    [
        "\ufefftask: mine\noutput_type: generate_until\n",
        "task: my own task\noutput_type: generate_until\n",
        "{task: mine, output_type: generate_until}\n",
        "task: >-\n  mine\noutput_type: generate_until\n",
        "  task: mine\n  output_type: generate_until\n",
        "include: base\ntask: mine\n",
        "output_type: generate_until\r\ntask: mine\r\n",
    ],
)
def test_yaml_of_any_form_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "base").write_text("output_type: generate_until\n")
    (tmp_path / "mine.yaml").write_text(text)
    name = "my own task" if "own task" in text else "mine"
    assert task_index(tmp_path).defaults(name).generates


@pytest.mark.parametrize("tags", ["tag:\n# a comment\n- t\n", "tag: [\nt\n]\n", "x: &t t\ntag: *t\n", "tag: t\n"])
def test_tags_of_any_form_are_read(tmp_path: Path, tags: str) -> None:
    (tmp_path / "mine.yaml").write_text("task: mine\n" + tags)
    assert task_index(tmp_path).tags["t"] == ("mine",)


def test_a_module_beside_a_definition_that_runs_texts_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: mine\nprocess_results: !function checks.run\n")
    (tmp_path / "checks.py").write_text("def run(doc, results):\n    return results\n")
    assert task_index(tmp_path).defaults("mine").runs_answers == ""
    (tmp_path / "prepare.py").write_text("x = 1\neval('1')\n")
    assert task_index(tmp_path).defaults("mine").runs_answers == f"{tmp_path}/prepare.py:2 names `eval`"


def test_what_a_group_says_may_run_answers(tmp_path: Path) -> None:
    own = write_own_tasks(tmp_path / "tasks")
    write_task(own / "g.yaml", group="g", task=["capitals"], unsafe_code=True)
    assert task_index(own).defaults("g").runs_answers == "its definition sets unsafe_code"


BROKEN = {
    "no YAML": (
        "mine.yaml",
        "task: mine\nx: [1, 2\n",
        r"mine\.yaml: cannot be read \(ParserError: .*\)\. Correct this",
    ),
    "include": ("mine.yaml", "task: mine\ninclude: other.yaml\n", r"other\.yaml: cannot be read \(FileNotFoundError"),
    "cycle": (
        "mine.yaml",
        "task: mine\ninclude: mine.yaml\n",
        r"mine\.yaml: cannot be read \(ValueError: Include cycle",
    ),
    "outside": (
        "mine.yaml",
        "task: mine\ninclude: ../x.yaml\n",
        r"mine\.yaml reads .*/x\.yaml, which is outside of .*own",
    ),
    "function": (
        "checks.py",
        "def f(:\n",
        r"checks\.py: cannot be read \(SyntaxError: .*\)\. Correct it: task definitions",
    ),
    "tag": ("mine.yaml", "task: mine\ntag: {a: b}\n", r"mine\.yaml: `tag` is no name\. Write a name"),
    "examples": (
        "mine.yaml",
        "task: mine\nnum_fewshot: five\n",
        r"mine\.yaml: cannot be read \(ValueError: invalid literal",
    ),
    "older": ("mine.yaml", "task: mine\ngroup: [g]\n", r"mine\.yaml: `task` or `group` is no name\. The older form"),
    "older group": ("mine.yaml", "task: mine\ngroup: g\n", r"mine\.yaml defines the group 'g' without a list of tasks"),
    "no list": (
        "g.yaml",
        "group: mine2\ntask: capitals\n",
        r"g\.yaml defines the group 'mine2' without a list of tasks",
    ),
    "itself": ("g.yaml", "group: mine3\ntask: [mine3]\n", None),
    "item": ("g.yaml", "group: mine4\ntask: [null]\n", None),
    "nobody's": ("g.yaml", "group: mine5\ntask: [nobody]\n", None),
    "empty": ("g.yaml", "group: mine6\ntask: []\n", None),
    "twice": ("z.yaml", "task: mine\n", r"'mine' is defined in .*z\.yaml and in .*mine\.yaml\. Remove one of them"),
    "clash": ("z.yaml", "task: z\ntag: arc_easy\n", r"the tag 'arc_easy' is the name of a task of lm-eval's\. Call it"),
    "number": ("z.yaml", "task: 5\n", r"z\.yaml: the name 5 is no text\. Put it in quotes"),
    "module": (
        "mine.yaml",
        "task: mine\nx: !function builtins.exec\n",
        r"mine\.yaml names functions of builtins, and .*",
    ),
    "dangling": ("a.jsonl", None, r"a\.jsonl is no file, or a link to none\. Remove it"),
}
ON_USE = {
    "itself": ("mine3", r"g\.yaml: cannot be read \(RecursionError"),
    "item": ("mine4", r"g\.yaml: cannot be read \(TypeError"),
    "nobody's": ("mine5", r"g\.yaml names the task 'nobody', which no file defines\. Define it in a file of .*own"),
    "empty": ("mine6", r"this group has no tasks\. Give it a list"),
}


def _use(own: Path, name: str) -> None:
    known = task_index(own)
    known.defaults(name)
    known.data_sets(name)


@pytest.mark.parametrize("kind", BROKEN)
def test_what_lm_eval_would_leave_out_or_break_at_is_named(tmp_path: Path, kind: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (tmp_path / "x.yaml").write_text("output_type: generate_until\n")
    (own / "checks.py").write_text("def f(doc, results):\n    return results\n")
    (own / "mine.yaml").write_text("task: mine\nprocess_results: !function checks.f\n")
    name, text, words = BROKEN[kind]
    if text is None:
        (own / name).symlink_to(tmp_path / "nowhere")
    else:
        (own / name).write_text(text)
    used, words = ON_USE.get(kind, ("mine", words))
    with pytest.raises(DataError, match=words):
        _use(own, used)


@pytest.mark.parametrize(
    "config",
    [
        {"group": "g", "task": [{"task": "capitals", "dataset_kwargs": {"data_files": "data/train.jsonl"}}]},
        {"group": "g", "task": ["capitals"], "dataset_kwargs": {"data_files": "data/train.jsonl"}},
    ],
)
def test_data_that_a_group_names_for_own_tasks_are_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    """lm-eval would look for them in the folder in which it is started."""
    own = write_own_tasks(tmp_path / "tasks")
    write_task(own / "g.yaml", **config)
    with pytest.raises(DataError, match="'capitals' gets another dataset_kwargs from its group"):
        task_index(own).data_sets("g")


def test_files_of_hidden_folders_count_and_leftovers_of_tools_do_not(tmp_path: Path) -> None:
    own = write_own_tasks(tmp_path / "tasks")
    (own / ".old").mkdir()
    (own / ".old" / "notes.txt").touch()
    (own / "__pycache__").mkdir()
    (own / "__pycache__" / "x.pyc").touch()
    assert {os.path.relpath(file, own) for file in own_files(own)} == {
        "capitals.yaml",
        "towns.yaml",
        "more/two.yaml",
        "data/test.jsonl",
        "data/train.jsonl",
        ".old/notes.txt",
    }
    write_task(own / ".old" / "hidden.yaml", **{**CHOICE, "task": "hidden"})
    assert "hidden" in task_index(own).names  # as for lm-eval


def test_a_module_below_a_definition_that_runs_texts_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("task: mine\nprocess_results: !function lib.checks.run\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "checks.py").write_text("def run(doc, results):\n    return exec(results[0])\n")
    assert task_index(tmp_path).defaults("mine").runs_answers == f"{tmp_path}/lib/checks.py:2 names `exec`"


def test_a_linked_folder_is_refused(tmp_path: Path) -> None:
    own = write_own_tasks(tmp_path / "tasks")
    (tmp_path / "lib").mkdir()
    (own / "lib").symlink_to(tmp_path / "lib")
    with pytest.raises(DataError, match=r"tasks/lib is a link to a folder\. Put the folder itself there"):
        task_index(own)


def test_what_version_control_and_caches_write_decides_nothing(tmp_path: Path) -> None:
    own = write_own_tasks(tmp_path / "tasks")
    before = own_files(own)
    for name in (".git/index", ".ruff_cache/x", ".venv/a.yaml", ".#capitals.yaml", "x.swp"):
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).touch()
    assert own_files(own) == before


def test_a_folder_of_far_more_than_tasks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write_own_tasks(tmp_path / "tasks")
    monkeypatch.setattr(evals.tasks.own_definitions, "MOST_FILES", 4)
    with pytest.raises(DataError, match=r"tasks holds more than 4 files\. Give a folder of task definitions alone"):
        task_index(own)
