"""The model behind the emulator: what follows a token, by arithmetic. No figure of it is ever a result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

VOCABULARY = 50
HALF = 44  # a token that ends inside a UTF-8 character
TEXTS = ("x", "é", "\u2028", "日本", '"', "\n", " ")


def logit(previous: int, token: int) -> float:
    return -((previous * 7 + token * 3) % 11 + 1) / 4


@cache
def _log_sum(previous: int) -> float:
    return math.log(sum(math.exp(logit(previous, token)) for token in range(VOCABULARY)))


def logprob(previous: int, token: int) -> float:
    return logit(previous, token) - _log_sum(previous)


def best(previous: int, asked: Sequence[int] = ()) -> int:
    """A most likely token; of those that are equally likely, one that was asked for."""
    return max([*asked, *range(VOCABULARY)], key=lambda token: logprob(previous, token))


def most_likely(previous: int, count: int) -> list[int]:
    """The `count` most likely tokens, those that are equally likely by their ids."""
    return sorted(range(VOCABULARY), key=lambda token: (-logprob(previous, token), token))[:count]
