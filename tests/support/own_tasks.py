"""A folder of a user's own task definitions, with their data beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

CHOICE = {
    "tag": "capital_tag",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "data/test.jsonl", "train": ["data/train.jsonl"]}},
    "output_type": "multiple_choice",
    "training_split": "train",
    "test_split": "test",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{answer}}",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


def write_own_tasks(folder: Path) -> Path:
    """Tasks `capitals` and `capitals_two`, both with a tag, and a group `towns` of both and of lm-eval's arc_easy."""
    (folder / "data").mkdir(parents=True)
    for split, count in (("test", 9), ("train", 4)):
        rows = [{"question": f"{split} {n}?", "choices": ["Rome", "Oslo"], "answer": n % 2} for n in range(count)]
        (folder / "data" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_task(folder / "capitals.yaml", **CHOICE)
    write_task(folder / "more" / "two.yaml", include="../capitals.yaml", task="capitals_two", **_DATA_ABOVE)
    write_task(folder / "towns.yaml", task=["capitals", "capitals_two", "arc_easy"], group="towns")
    return folder


_DATA_ABOVE = {"dataset_kwargs": {"data_files": {"test": "../data/test.jsonl"}}, "training_split": None}


def write_task(file: Path, **config: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    named = config if {"task", "group"} & set(config) else {"task": file.stem, **config}
    file.write_text(yaml.safe_dump(named, sort_keys=False))
