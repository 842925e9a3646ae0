"""Runs' descriptions that somebody else wrote: one line, which names the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evals.schema.run_file import MOST_CHANGES, MOST_LETTERS, NoRun, read_run
from quant.canonical_json import write_json
from tests.support.made_trials import ABOUT


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("file", 5, "`file` is 5: Input should be a valid string"),
        ("plan", None, "`plan` is None: "),
        ("changes", {"sets": "x"}, "`changes.sets` is 'x': "),
        ("changes", {"sets": ["a=1"] * (MOST_CHANGES + 1)}, f"List should have at most {MOST_CHANGES} items"),
        ("changes", {"sets": ["a" * (MOST_LETTERS + 1)]}, f"String should have at most {MOST_LETTERS} characters"),
    ],
)
def test_a_value_of_another_kind_is_named(tmp_path: Path, key: str, value: Any, words: str) -> None:
    write_json(tmp_path / "sweep.json", {**ABOUT, key: value})
    with pytest.raises(NoRun) as caught:
        read_run(tmp_path)
    text = str(caught.value)
    assert words in text
    assert text.endswith("Sweep its plan again")
    assert "pydantic" not in text
    assert len(text) < 400
