from __future__ import annotations

from pathlib import Path

import pytest

from evals.accuracy.published_perplexity import anchors_for, read_anchors
from reports.sections.published_values import ANCHORS


def test_the_table_is_readable_and_each_value_has_its_source() -> None:
    anchors = read_anchors(ANCHORS)
    assert len(anchors) > 30
    assert all(
        anchor.source and 2.0 < anchor.value < 100.0 and anchor.window_tokens in (512, 2048, 4096) for anchor in anchors
    )
    described = [(anchor.model, anchor.method, anchor.convention, anchor.window_tokens) for anchor in anchors]
    assert len(set(described)) == len(described)


def test_a_model_is_found_by_its_hub_id_or_its_folder() -> None:
    anchors = read_anchors(ANCHORS)
    (anchor,) = anchors_for(anchors, "meta-llama/Llama-2-7b-hf", "papers", 2048)
    assert anchor.value == 5.47
    assert anchors_for(anchors, "llama-2-7b-hf", "papers", 2048) == [anchor]
    assert anchors_for(anchors, "meta-llama/Llama-2-7b-hf", "papers", 1024) == []
    assert anchors_for(anchors, "smollm2-135m-instruct", "papers", 2048) == []


def test_an_entry_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "anchors.yaml"
    file.write_text("- {model: m, value: 3.0}\n")
    with pytest.raises(ValueError, match=r"anchors\.yaml: entry 1 is not an anchor"):
        read_anchors(file)
