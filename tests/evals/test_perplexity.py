from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evals.pairs import Scored
from evals.perplexity import PerplexitySpec, papers_perplexity, papers_windows, wikitext2_test
from evals.tasks import DataError
from evals.tokenizer import load_tokenizer, ordinary_ids, special_ids


def _root(tmp_path: Path) -> Path:
    folder = tmp_path / "Salesforce" / "wikitext" / "wikitext-2-raw-v1"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"text": ["a b", "", "c d"]}), folder / "test-00000-of-00001.parquet")
    return tmp_path


def test_rows_are_joined_as_in_the_papers_code(tmp_path: Path) -> None:
    assert wikitext2_test(_root(tmp_path)) == "a b\n\n\n\nc d"


def test_a_root_without_the_text_is_refused(tmp_path: Path) -> None:
    (_root(tmp_path) / "Salesforce/wikitext/wikitext-2-raw-v1/test-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"has no wikitext-2-raw-v1/test-"):
        wikitext2_test(tmp_path)


def test_windows_are_disjoint_and_the_tail_is_dropped(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    ids = tokenizer.encode("a b c d e f a b c d e").ids
    windows = papers_windows(tokenizer, "a b c d e f a b c d e", PerplexitySpec(window_tokens=4))
    assert [(*w.context, *w.continuation) for w in windows] == [tuple(ids[0:4]), tuple(ids[4:8])]


def test_a_text_shorter_than_a_window_is_refused(tiny_model: Path) -> None:
    with pytest.raises(DataError, match="has 2 tokens, fewer than one window of 4"):
        papers_windows(load_tokenizer(tiny_model), "a b", PerplexitySpec(window_tokens=4))


def test_sums_are_kept() -> None:
    one = papers_perplexity("text", PerplexitySpec(window_tokens=3), [Scored((-1.0, -2.0), (True, False))])
    assert one.windows == ((-3.0, 2),)
    assert one.window_tokens == 3


def test_special_tokens_are_no_ordinary_ones(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    assert special_ids(tiny_model, tokenizer) == (0, 1)
    assert ordinary_ids(tokenizer) == [2, 3, 4, 5, 6, 7]
