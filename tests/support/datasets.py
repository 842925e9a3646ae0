"""A local root of evaluation data with two questions."""

from __future__ import annotations

from pathlib import Path


def write_data_root(tmp_path: Path, splits: tuple[str, ...] = ("validation", "test")) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "root" / "allenai" / "ai2_arc"
    (folder / "ARC-Easy").mkdir(parents=True)
    choices = {"text": ["one", "two"], "label": ["A", "B"]}
    rows = [{"id": str(i), "question": f"what is {i}?", "choices": choices, "answerKey": "A"} for i in range(9)]
    for split in splits:
        pq.write_table(pa.Table.from_pylist(rows), folder / "ARC-Easy" / f"{split}.parquet")
    files = "".join(f"  - split: {split}\n    path: ARC-Easy/{split}.parquet\n" for split in splits)
    (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: ARC-Easy\n  data_files:\n{files}---\n")
    return tmp_path / "root"
