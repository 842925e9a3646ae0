from __future__ import annotations

from pathlib import Path

import pytest

from evals.accuracy.perplexity import PerplexitySpec, pairs_of, passes, perplexity_of, windows_of
from evals.api.tokenizers import load_tokenizer, ordinary_ids, special_ids
from evals.data.local_root import DataError
from evals.scoring.types import Pair, Scored

PAPERS = PerplexitySpec("papers", 4, 4)
STRIDED = PerplexitySpec("strided", 4, 2)
LLAMA_CPP = PerplexitySpec("llama.cpp", 4, 4)
IDS = list(range(100, 111))


def _scored(spec: PerplexitySpec, ids: list[int], bos: int | None = None) -> list[tuple[int, ...]]:
    """The token ids that each window scores, by a scorer whose log-probability of a token is its id."""
    windows = windows_of(spec, ids, bos)
    needed = passes(windows)
    scores = [Scored(tuple(map(float, pair.continuation)), ()) for pair in pairs_of(ids, needed)]
    return [tuple(map(int, tokens)) for tokens in perplexity_of(spec, "t", windows, needed, scores).tokens]


def test_papers_windows_are_disjoint_and_the_tail_is_dropped() -> None:
    assert _scored(PAPERS, IDS) == [(101, 102, 103), (105, 106, 107)]


def test_strided_windows_score_every_token_but_the_first_once() -> None:
    assert _scored(STRIDED, IDS) == [(101, 102, 103), (104, 105), (106, 107), (108, 109), (110,)]


def test_llama_cpp_scores_second_halves_and_puts_its_bos_first() -> None:
    assert _scored(LLAMA_CPP, IDS) == [(103,), (107,)]
    windows = windows_of(LLAMA_CPP, IDS, 7)
    assert pairs_of(IDS, passes(windows))[1] == Pair((7, 105, 106), (107,))


def test_every_window_of_a_model_that_needs_bos_begins_with_it() -> None:
    for spec in (PAPERS, STRIDED, LLAMA_CPP):
        windows = windows_of(spec, IDS, 7, needs_bos=True)
        pairs = pairs_of(IDS, passes(windows))
        assert {pair.context[0] for pair in pairs} == {7}
        plain = [pair.continuation for pair in pairs_of(IDS, passes(windows_of(spec, IDS, None)))]
        assert [pair.continuation for pair in pairs] == plain  # what is scored is the same
    assert {window.bos for window in windows_of(PAPERS, IDS, 7)} == {None}


def test_windows_that_begin_together_are_one_pass() -> None:
    long = PerplexitySpec("papers", 8, 8)
    windows = [*windows_of(long, IDS, None), *windows_of(STRIDED, IDS, None), *windows_of(LLAMA_CPP, IDS, None)]
    assert passes(windows) == {
        (0, None): (1, 8),
        (2, None): (4, 6),
        (4, None): (6, 8),
        (6, None): (8, 10),
        (8, None): (10, 11),
    }
    assert pairs_of(IDS, passes(windows))[1] == Pair((102, 103), (104, 105))  # two tokens are only read
    assert len(passes([*windows, *windows_of(LLAMA_CPP, IDS, 7)])) == 7  # another first token is another pass


def test_max_tokens_cuts_the_text() -> None:
    assert _scored(PerplexitySpec("papers", 4, 4, max_tokens=7), IDS) == [(101, 102, 103)]


def test_a_text_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(DataError, match="has 2 tokens, fewer than one window of 4"):
        windows_of(PAPERS, [1, 2], None)


def test_special_tokens_are_no_ordinary_ones(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    assert special_ids(tiny_model, tokenizer) == (0, 1)
    assert ordinary_ids(tokenizer) == [2, 3, 4, 5, 6, 7]
