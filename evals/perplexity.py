"""Perplexity as the GPTQ and AWQ papers compute it, through the engine's own log-probabilities.

lm-eval's word, byte and bits-per-byte figures come from its task `wikitext`; llama.cpp's and strided windows are
other conventions and give other numbers on the same model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from evals.pairs import Pair, Scored
from evals.record import Perplexity
from evals.tasks import DataError, dataset_folder

PAPERS = "papers"
WIKITEXT_HUB_NAME = "Salesforce/wikitext"
WIKITEXT_CONFIG = "wikitext-2-raw-v1"


@dataclass(frozen=True)
class PerplexitySpec:
    """WikiText-2's raw test text in disjoint windows; `max_tokens` cuts the token stream (None is all of it)."""

    convention: Literal["papers"] = "papers"
    window_tokens: int = 2048
    max_tokens: int | None = None


def wikitext2_test(root: Path | None) -> str:
    r"""WikiText-2's test rows joined by "\n\n", as the papers' code does, from a root or the hub. Raises DataError."""
    if root is None:
        import datasets

        rows = datasets.load_dataset(WIKITEXT_HUB_NAME, WIKITEXT_CONFIG, split="test")["text"]
        return "\n\n".join(rows)
    folder = dataset_folder(root, WIKITEXT_HUB_NAME)
    import pyarrow.parquet as pq  # a third of a second that a plan's check has no use for

    files = sorted((folder / WIKITEXT_CONFIG).glob("test-*.parquet"))
    if not files:
        raise DataError(f"{folder} has no {WIKITEXT_CONFIG}/test-*.parquet")
    return "\n\n".join(row for file in files for row in pq.read_table(file)["text"].to_pylist())


def papers_windows(tokenizer: Tokenizer, text: str, spec: PerplexitySpec) -> list[Pair]:
    """Disjoint windows of L tokens, each predicting its last L − 1 tokens from its first; a short tail is dropped.

    Source: Frantar et al., GPTQ (arXiv 2210.17323), evaluation code; used by AWQ and most papers after it.
    """
    ids = tokenizer.encode(text, add_special_tokens=False).ids[: spec.max_tokens]
    size = spec.window_tokens
    starts = range(0, len(ids) - size + 1, size)
    if not starts:
        raise DataError(f"the text has {len(ids)} tokens, fewer than one window of {size}")
    return [Pair((ids[start],), tuple(ids[start + 1 : start + size])) for start in starts]


def papers_perplexity(text: str, spec: PerplexitySpec, scores: Sequence[Scored]) -> Perplexity:
    """Keep the sums; the number is exp(−mean over windows of the window's mean log-likelihood)."""
    return Perplexity(
        convention=PAPERS,
        text_sha256=hashlib.sha256(text.encode()).hexdigest(),
        window_tokens=spec.window_tokens,
        windows=tuple((sum(one.logprobs), len(one.logprobs)) for one in scores),
    )
