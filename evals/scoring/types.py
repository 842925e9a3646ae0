"""What is scored, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Token ids to condition on (at least one) and token ids to score (at least one)."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True)
class Scored:
    """Of one pair: natural-log probability of each continuation token, and whether each was the most likely."""

    logprobs: tuple[float, ...]
    greedy: tuple[bool, ...]


Done = Callable[[Sequence[tuple[int, Scored]]], None]  # gets (index, scores) of the pairs that were just finished
