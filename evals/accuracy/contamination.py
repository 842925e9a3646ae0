"""Whether a text that calibrated a checkpoint is also in what the checkpoint is scored on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evals.scoring.types import Pair

# so many tokens in a row are hardly shared by chance (13 words: Brown et al., arXiv 2005.14165, appendix C)
RUN_TOKENS = 13
Runs = frozenset[tuple[int, ...]]


def runs(rows: Iterable[Sequence[int]]) -> Runs:
    """All runs of RUN_TOKENS token ids in `rows`."""
    return frozenset(run for row in rows for run in _of(row))


def shares_a_run(pair: Pair, known: Runs) -> bool:
    """True where context and continuation together hold a run of `known`."""
    return bool(known) and any(run in known for run in _of((*pair.context, *pair.continuation)))


def _of(ids: Sequence[int]) -> Iterable[tuple[int, ...]]:
    row = tuple(ids)
    return (row[start : start + RUN_TOKENS] for start in range(len(row) - RUN_TOKENS + 1))
