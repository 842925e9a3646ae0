"""Perplexity of one text in several conventions, from as few passes of the engine as they allow.

Every convention is a set of windows over a stream of tokens. Windows of one stream that begin at the same token are one
pass, and each convention takes its own tokens out of it. lm-eval's word, byte and bits-per-byte figures are of
another text (whole pages, detokenized): they come from its task `wikitext`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evals.data.corpora import wikitext2_test, wikitext2_test_raw
from evals.data.local_root import DataError
from evals.schema.accuracy import Perplexity
from evals.scoring.types import Pair, Scored

Convention = Literal["papers", "strided", "llama.cpp"]


Reader = Callable[[Path | None], str]
TEXTS: Mapping[Convention, Reader] = {
    "papers": wikitext2_test,
    "strided": wikitext2_test,
    "llama.cpp": wikitext2_test_raw,
}


@dataclass(frozen=True)
class PerplexitySpec:
    """WikiText-2's raw test text in a convention; `max_tokens` cuts the stream (None is all of it).

    `stride_tokens` is how far a window is from the one before it; only "strided" leaves the choice.
    """

    convention: Convention
    window_tokens: int
    stride_tokens: int
    max_tokens: int | None = None


@dataclass(frozen=True)
class Window:
    """Tokens `start` to `end` − 1 of the stream in one pass, of which those from `first` on are scored.

    `bos` replaces the first token, where the convention or the model wants that and the tokenizer has one.
    """

    start: int
    first: int
    end: int
    bos: int | None = None


Passes = dict[tuple[int, int | None], tuple[int, int]]  # (start, bos) → first token that any window scores, end


def windows_of(spec: PerplexitySpec, ids: Sequence[int], bos: int | None, *, needs_bos: bool = False) -> list[Window]:
    """The windows of a convention. `bos` is what the tokenizer puts before a text, or None; of a model that needs it
    (`quant.checkpoints.configuration.needs_bos`), each window of each convention begins with it. Raises DataError.

    papers: disjoint windows of L tokens, each predicting its last L − 1 from its first; a short tail is dropped
    (Frantar et al., GPTQ, arXiv 2210.17323, evaluation code; used by AWQ and most papers after it).
    strided: windows of L every S tokens, each scoring what the one before did not reach, the tail too (Hugging Face,
    "Perplexity of fixed-length models").
    llama.cpp: disjoint windows, BOS first where the model wants one, the second half scored but for its first token
    (its tool `perplexity`: L − 1 − L ÷ 2 logits from position L ÷ 2 on, each against the token after it).
    """
    count = len(ids) if spec.max_tokens is None else min(len(ids), spec.max_tokens)
    size = spec.window_tokens
    if count < size:
        raise DataError(f"the text has {count} tokens, fewer than one window of {size}")
    if spec.convention == "strided":
        return list(_strided(count, size, spec.stride_tokens, bos if needs_bos else None))
    skipped = 1 if spec.convention == "papers" else size // 2 + 1
    replaced = bos if needs_bos or spec.convention == "llama.cpp" else None
    return [Window(start, start + skipped, start + size, replaced) for start in range(0, count - size + 1, size)]


def _strided(count: int, size: int, stride: int, bos: int | None) -> Iterator[Window]:
    reached = 1  # nothing tells of the first token
    for start in range(0, count, stride):
        end = min(start + size, count)
        yield Window(start, reached, end, bos)
        reached = end
        if end == count:
            return


def passes(windows: Sequence[Window]) -> Passes:
    """The passes that hold all of `windows`; what none of them scores is only read."""
    grouped: Passes = {}
    for window in windows:
        first, end = grouped.get((window.start, window.bos), (window.first, window.end))
        grouped[window.start, window.bos] = min(first, window.first), max(end, window.end)
    return grouped


def pairs_of(ids: Sequence[int], needed: Passes) -> list[Pair]:
    """One pair for each pass: the tokens that are only read, then those that are scored."""
    return [
        Pair((ids[start] if bos is None else bos, *ids[start + 1 : first]), tuple(ids[first:end]))
        for (start, bos), (first, end) in needed.items()
    ]


def perplexity_of(
    spec: PerplexitySpec, text_sha256: str, windows: Sequence[Window], needed: Passes, scores: Sequence[Scored]
) -> Perplexity:
    """Each window's own tokens out of the scored passes; `scores` are those of `pairs_of(ids, needed)`."""
    by_pass = dict(zip(needed, scores, strict=True))

    def tokens(window: Window) -> tuple[float, ...]:
        key = (window.start, window.bos)
        skipped = needed[key][0]
        return by_pass[key].logprobs[window.first - skipped : window.end - skipped]

    return Perplexity(
        convention=spec.convention,
        text_sha256=text_sha256,
        window_tokens=spec.window_tokens,
        stride_tokens=spec.stride_tokens,
        tokens=tuple(map(tokens, windows)),
        max_tokens=spec.max_tokens,
    )
