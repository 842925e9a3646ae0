"""Prompts for the load client: distinct, of an exact number of tokens, equal for every cell of a sweep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def synthetic_prompts(
    vocabulary: Sequence[int], count: int, prompt_tokens: int, *, seed: int, repeat: int
) -> list[list[int]]:
    """`count` prompts of `prompt_tokens` token ids each, drawn uniformly from `vocabulary`.

    Seed and repeat together choose the draw, so that no repeat and no load point can be served from a prefix cache.
    Speed does not depend on what a dense model reads; these texts mean nothing.
    """
    generator = np.random.default_rng([seed, repeat, count, prompt_tokens])
    ids = np.asarray(vocabulary, dtype=np.int64)
    return [[int(token) for token in generator.choice(ids, prompt_tokens)] for _ in range(count)]
