from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from evals.data.local_root import DataError, dataset_folder
from evals.tasks.loaded_tasks import TaskSpec, load_tasks, task_data
from evals.tasks.task_index import TaskIndex, task_index
from tests.support.datasets import write_data_root
from tests.support.own_tasks import CHOICE, write_own_tasks, write_task

AGIEVAL_NOUS = (
    "aqua-rat",
    "logiqa-en",
    "lsat-ar",
    "lsat-lr",
    "lsat-rc",
    "sat-en-without-passage",
    "sat-en",
    "sat-math",
)


def test_items_are_drawn_once_and_sorted(tmp_path: Path) -> None:
    root = write_data_root(tmp_path)
    loaded = load_tasks([TaskSpec("arc_easy", 4)], root, tmp_path / "work", seed=0)
    again = load_tasks([TaskSpec("arc_easy", 4)], root, tmp_path / "work2", seed=0)
    other = load_tasks([TaskSpec("arc_easy", 4)], root, tmp_path / "work", seed=5)
    drawn = loaded.samples["arc_easy"]
    assert drawn == again.samples["arc_easy"] == sorted(set(drawn))
    assert len(drawn) == 4
    assert drawn != other.samples["arc_easy"]
    assert loaded.parents == {"arc_easy": "arc_easy"}


def test_without_limit_all_items_are_taken(tmp_path: Path) -> None:
    loaded = load_tasks([TaskSpec("arc_easy")], write_data_root(tmp_path), tmp_path / "work", seed=0)
    assert loaded.samples["arc_easy"] == list(range(9))


def test_two_roots_with_equal_names_are_kept_apart(tmp_path: Path) -> None:
    """`datasets` alone would serve the first root's rows for the second: its cache knows only folder name and README."""
    first = write_data_root(tmp_path / "a")
    second = write_data_root(tmp_path / "b", ("validation", "test"))
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"id": "z", "question": "other?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}]
    pq.write_table(pa.Table.from_pylist(rows), second / "allenai/ai2_arc/ARC-Easy/test.parquet")
    assert len(load_tasks([TaskSpec("arc_easy")], first, tmp_path / "work", seed=0).samples["arc_easy"]) == 9
    assert len(load_tasks([TaskSpec("arc_easy")], second, tmp_path / "work", seed=0).samples["arc_easy"]) == 1


def test_a_link_that_became_a_file_is_followed(tmp_path: Path) -> None:
    root = write_data_root(tmp_path)
    (root / "other").mkdir()
    (root / "other" / "name").write_text("../allenai/ai2_arc")
    assert dataset_folder(root, "other/name") == (root / "allenai" / "ai2_arc").resolve()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\0b"])
def test_a_file_that_is_no_path_in_the_place_of_a_folder_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cais").mkdir()
    (tmp_path / "cais/mmlu").write_bytes(content)
    with pytest.raises(DataError, match=r"cais/mmlu: cannot be read .*Put the folder itself there"):
        dataset_folder(tmp_path, "cais/mmlu")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no folder cais/mmlu"):
        dataset_folder(tmp_path, "cais/mmlu")


def test_a_folder_without_readme_has_no_configuration(tmp_path: Path) -> None:
    root = write_data_root(tmp_path)
    (root / "allenai/ai2_arc/README.md").unlink()
    with pytest.raises(DataError, match=r"task 'arc_easy': .*ai2_arc is not a data set that it can read: .*ARC-Easy"):
        load_tasks([TaskSpec("arc_easy", 2)], root, tmp_path / "work", seed=0)


def _write_questions(folder: Path, name: str, card: str | None = None) -> None:
    """Nine questions of AGIEval's shape, each with the data set's name in it, in a file of JSON lines."""
    folder.mkdir(parents=True)
    rows = [
        {"query": f"{name} question {number}", "choices": ["(A) x", "(B) y"], "gold": [number % 2]}
        for number in range(9)
    ]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if card is not None:
        (folder / "README.md").write_text(f"---\n{card}---\n")


CARDS = [
    None,
    "configs:\n- config_name: default\n  data_files:\n  - split: test\n    path: test.jsonl\n",
    "configs:\n- config_name: default\n  data_files:\n  - split: test\n    path: [test.jsonl]\n",
    "configs:\n- config_name: default\n  data_dir: .\n",
    "license: mit\n",
]


@pytest.mark.parametrize("card", CARDS)
def test_each_leaf_of_a_group_reads_its_own_data(tmp_path: Path, card: str | None) -> None:
    names = {f"agieval_{name.replace('-', '_')}": name for name in AGIEVAL_NOUS}
    for name in names.values():
        _write_questions(tmp_path / "root" / "hails" / f"agieval-{name}", name, card)
    loaded = load_tasks([TaskSpec("agieval_nous", 4)], tmp_path / "root", tmp_path / "work", seed=0)
    assert set(loaded.leaves) == set(names)
    for leaf, task in loaded.leaves.items():
        assert {doc["query"].split()[0] for doc in task.eval_docs} == {names[leaf]}


def test_a_leaf_without_data_is_named(tmp_path: Path) -> None:
    _write_questions(tmp_path / "root" / "hails" / "agieval-aqua-rat", "aqua-rat")
    with pytest.raises(DataError, match=r"task 'agieval_logiqa_en': .* has no folder hails/agieval-logiqa-en"):
        load_tasks([TaskSpec("agieval_nous", 4)], tmp_path / "root", tmp_path / "work", seed=0)


def test_members_in_other_folders_are_looked_up(tmp_path: Path) -> None:
    """The group openllm names tasks of six other folders."""
    with pytest.raises(DataError, match=r"task 'arc_challenge': .* has no folder allenai/ai2_arc"):
        load_tasks([TaskSpec("openllm", 4)], tmp_path, tmp_path / "work", seed=0)


def test_a_task_that_is_a_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"task 'squadv2' reads its data by a program of its own"):
        load_tasks([TaskSpec("squadv2", 4)], tmp_path, tmp_path / "work", seed=0)


def test_a_definition_is_asked_as_it_says(tmp_path: Path) -> None:
    """Not with no examples, unless the plan says so."""
    (tmp_path / "root/openai/gsm8k").mkdir(parents=True)
    card = "---\nconfigs:\n- config_name: main\n  data_files:\n  - {split: train, path: a.jsonl}\n"
    (tmp_path / "root/openai/gsm8k/README.md").write_text(card + "  - {split: test, path: a.jsonl}\n---\n")
    rows = "".join(json.dumps({"question": f"q{n}", "answer": f"#### {n}"}) + "\n" for n in range(9))
    (tmp_path / "root/openai/gsm8k/a.jsonl").write_text(rows)
    counts = [
        load_tasks([spec], tmp_path / "root", tmp_path / "work", seed=0).leaves["gsm8k"].get_config("num_fewshot")
        for spec in (TaskSpec("gsm8k", 2), TaskSpec("gsm8k", 2, num_fewshot=0))
    ]
    assert counts == [5, 0]


def test_shots_from_a_split_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="draws examples from the split 'train'"):
        load_tasks([TaskSpec("arc_easy", 2, num_fewshot=3)], write_data_root(tmp_path), tmp_path / "work", seed=0)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../../notes.txt", "https://127.0.0.1:9/x.parquet", "zip://x::/etc/passwd.zip"]
)
@pytest.mark.parametrize("card", ["README.md", ".huggingface.yaml"])
def test_a_card_that_names_files_outside_is_refused(tmp_path: Path, path: str, card: str) -> None:
    """They would be sent to servers and shown in reports."""
    root = write_data_root(tmp_path)
    settings = {"configs": [{"config_name": "ARC-Easy", "data_files": [{"split": "test", "path": ["a", path]}]}]}
    text = yaml.safe_dump(settings)
    (root / "allenai" / "ai2_arc" / card).write_text(f"---\n{text}---\n# A set\n" if card == "README.md" else text)
    with pytest.raises(DataError, match=f"{card} names files outside of its folder: "):
        task_data([TaskSpec("arc_easy")], root, task_index())


@pytest.mark.parametrize("on_the_hub", [True, False])
def test_own_tasks_are_loaded_with_the_data_beside_them(tmp_path: Path, on_the_hub: bool) -> None:
    """Whatever the plan's data are."""
    known = task_index(write_own_tasks(tmp_path / "tasks"))
    specs = [TaskSpec("capitals", 4, num_fewshot=2), TaskSpec("capitals_two")]
    root = None if on_the_hub else write_data_root(tmp_path)
    loaded = load_tasks(specs, root, tmp_path / "work", seed=0, known=known)
    task = loaded.leaves["capitals"]
    assert [doc["question"] for doc in task.eval_docs] == [f"test {n}?" for n in range(9)]
    assert task.get_config("num_fewshot") == 2
    assert {doc["question"] for doc in task.fewshot_docs()} == {f"train {n}?" for n in range(4)}
    assert (len(loaded.samples["capitals"]), len(loaded.samples["capitals_two"])) == (4, 9)


def test_an_own_group_joins_own_tasks_and_lm_evals(tmp_path: Path) -> None:
    known = task_index(write_own_tasks(tmp_path / "tasks"))
    loaded = load_tasks([TaskSpec("towns", 3)], write_data_root(tmp_path), tmp_path / "work", seed=0, known=known)
    assert loaded.parents == dict.fromkeys(("capitals", "capitals_two", "arc_easy"), "towns")


def test_own_data_that_changed_are_read_again(tmp_path: Path) -> None:
    """`datasets` knows a file by its name."""
    known = task_index(write_own_tasks(tmp_path / "tasks"))
    test = tmp_path / "tasks" / "data" / "test.jsonl"
    for question in ("first", "second"):
        test.write_text(json.dumps({"question": question, "choices": ["a", "b"], "answer": 0}) + "\n")
        loaded = load_tasks([TaskSpec("capitals")], None, tmp_path / "work", seed=0, known=known)
        assert [doc["question"] for doc in loaded.leaves["capitals"].eval_docs] == [question]


def _own(folder: Path, **changes: object) -> TaskIndex:
    own = write_own_tasks(folder / "tasks")
    write_task(own / "capitals.yaml", **{**CHOICE, **changes})
    return task_index(own)


@pytest.mark.parametrize(
    "changes", [{"test_split": "tset"}, {"validation_split": "dev"}, {"fewshot_config": {"split": "dev"}}]
)
def test_a_split_that_own_files_have_not_is_named(tmp_path: Path, changes: dict[str, object]) -> None:
    """lm-eval itself would end with a KeyError, or without a word ask another split."""
    known = _own(tmp_path, **changes)
    with pytest.raises(DataError, match=r"capitals\.yaml names the split '(tset|dev)', and its data have test, train"):
        load_tasks([TaskSpec("capitals")], None, tmp_path / "work", seed=0, known=known)


def test_examples_that_a_definition_gives_need_no_split(tmp_path: Path) -> None:
    root = write_data_root(tmp_path)
    arc = {"dataset_path": "allenai/ai2_arc", "dataset_name": "ARC-Easy", "dataset_kwargs": None}
    arc |= {"doc_to_choice": ["a", "b"], "doc_to_target": 0}
    known = _own(tmp_path, **arc, training_split="train", fewshot_config={"samples": [{"question": "mine?"}]})
    loaded = load_tasks([TaskSpec("capitals", num_fewshot=1)], root, tmp_path / "work", seed=0, known=known)
    assert [doc["question"] for doc in loaded.leaves["capitals"].fewshot_docs()] == ["mine?"]


@pytest.mark.parametrize("on_the_hub", [True, False])
def test_a_program_of_the_user_s_own_reads_whatever_the_plan_s_data_are(tmp_path: Path, on_the_hub: bool) -> None:
    own = tmp_path / "tasks"
    own.mkdir()
    (own / "utils.py").write_text(
        "import datasets\ndef load(**_):\n"
        "    row = {'question': 'mine?', 'choices': ['a', 'b'], 'answer': 0}\n"
        "    return datasets.DatasetDict(test=datasets.Dataset.from_list([row]))\n"
    )
    unused = {"dataset_path", "dataset_kwargs", "training_split"}
    write_task(own / "mine.yaml", **{key: value for key, value in CHOICE.items() if key not in unused})
    (own / "mine.yaml").write_text((own / "mine.yaml").read_text() + "custom_dataset: !function utils.load\n")
    root = None if on_the_hub else write_data_root(tmp_path)
    loaded = load_tasks([TaskSpec("mine")], root, tmp_path / "work", seed=0, known=task_index(own))
    assert [doc["question"] for doc in loaded.leaves["mine"].eval_docs] == ["mine?"]


@pytest.mark.parametrize(("given", "counts"), [(None, {1, 2}), (0, {0}), (3, {3})])
def test_what_the_plan_says_of_examples_wins(tmp_path: Path, given: int | None, counts: set[int]) -> None:
    """Over what a group says of its members; with nothing in the plan that counts."""
    own = write_own_tasks(tmp_path / "tasks")
    members = [{"task": "capitals", "num_fewshot": 1}, "capitals_two"]
    write_task(own / "g.yaml", group="g", task=members, num_fewshot=2)
    spec = TaskSpec("g", num_fewshot=given)
    loaded = load_tasks([spec], None, tmp_path / "work", seed=0, known=task_index(own))
    assert {task.get_config("num_fewshot") for task in loaded.leaves.values()} == counts
