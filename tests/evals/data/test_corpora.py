from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evals.api.tokenizers import load_tokenizer
from evals.data.corpora import own_prompts, read_prompts, wikitext2_test, wikitext2_test_raw, wikitext_prompts
from evals.data.local_root import DataError
from tests.support.checkpoints import add_bos


def _root(tmp_path: Path) -> Path:
    folder = tmp_path / "Salesforce" / "wikitext" / "wikitext-2-raw-v1"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"text": ["a b", "", "c d"]}), folder / "test-00000-of-00001.parquet")
    return tmp_path


def test_rows_are_joined_as_in_the_papers_code(tmp_path: Path) -> None:
    root = _root(tmp_path)
    assert wikitext2_test(root) == "a b\n\n\n\nc d"
    assert wikitext2_test_raw(root) == "a b \nc d"  # the real rows end in a line break


def test_a_root_without_the_text_is_refused(tmp_path: Path) -> None:
    (_root(tmp_path) / "Salesforce/wikitext/wikitext-2-raw-v1/test-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"has no wikitext-2-raw-v1/test-"):
        wikitext2_test(tmp_path)


def test_stretches_of_a_text_do_not_overlap_and_depend_on_the_seed(tiny_model: Path) -> None:
    tokenizer, text = load_tokenizer(tiny_model), "a b c d e f " * 20
    ids = tokenizer.encode(text).ids
    prompts, again, other = (wikitext_prompts(tokenizer, text, 3, 7, seed) for seed in (0, 0, 4))
    assert prompts == again != other
    starts = [n for n in range(0, len(ids), 7) if tuple(ids[n : n + 7]) in prompts.ids]
    assert {len(ids) for ids in prompts.ids} == {7}
    assert len(starts) >= 3
    with pytest.raises(DataError, match="too few for 100 prompts of 7"):
        wikitext_prompts(tokenizer, text, 100, 7, 0)


def test_own_prompts_are_drawn_and_cut_on_the_left(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "a b c d"}\n\n{"prompt": "e f", "other": 1}\n')
    prompts = own_prompts(load_tokenizer(tiny_model), file, 5, 3, 0)
    encode = load_tokenizer(tiny_model).encode
    assert prompts.ids == (tuple(encode("a b c d").ids[-3:]), tuple(encode("e f").ids[-3:]))
    assert prompts.name == "mine.jsonl"
    assert len(own_prompts(load_tokenizer(tiny_model), file, 1, 3, 0).ids) == 1


def test_prompts_begin_with_what_the_tokenizer_puts_before_a_text(tiny_model: Path, tmp_path: Path) -> None:
    add_bos(tiny_model)
    tokenizer, file = load_tokenizer(tiny_model), tmp_path / "mine.jsonl"
    stretches = wikitext_prompts(tokenizer, "a b c d e f " * 20, 5, 7, 0).ids
    assert {len(ids) for ids in stretches} == {7}
    assert [ids.count(0) for ids in stretches] == [1] * 5
    assert {ids[0] for ids in stretches} == {0}
    file.write_text('{"prompt": "a b c d"}\n{"prompt": "e f"}\n')
    assert own_prompts(tokenizer, file, 5, 3, 0).ids == ((0, 4, 5), (0, 6, 7))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"prompt": "a b"}\nnot json\n', r"mine\.jsonl:2: not a line of JSON with a \"prompt\""),
        ('{"text": "a b"}\n', r"mine\.jsonl:1: not a line of JSON with a \"prompt\""),
        ('{"prompt": 3}\n', r"mine\.jsonl:1: its prompt is not a text"),
        ("\n", r"mine\.jsonl has no prompts"),
    ],
)
def test_lines_without_a_prompt_are_named(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(content)
    with pytest.raises(DataError, match=words):
        read_prompts(file)


def test_a_file_that_is_not_there_and_a_prompt_too_short_are_named(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_prompts(tmp_path / "none.jsonl")
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "a"}\n')
    with pytest.raises(DataError, match="has fewer than two tokens: 'a'"):
        own_prompts(load_tokenizer(tiny_model), file, 1, 8, 0)


def test_lines_end_at_line_feeds_alone_and_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    """Separators of Unicode stand unescaped in what many programs write; Windows' programs begin with a mark."""
    file, texts = tmp_path / "mine.jsonl", ["a\u2028b", "c\u2029d\x85e", "f"]
    lines = [json.dumps({"prompt": text}, ensure_ascii=False) for text in texts]
    file.write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
    assert read_prompts(file) == texts
