"""Prompts whose next-token distributions are kept, so that two checkpoints can be compared without any labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from engines.types import Endpoint
from evals.data.corpora import WIKITEXT, Prompts, own_prompts, wikitext2_test, wikitext_prompts
from evals.schema.accuracy import Predictions
from evals.scoring.generate import Prompt, generate
from evals.scoring.loglikelihood import score
from evals.scoring.top_logprobs import Distribution, tell
from evals.scoring.types import Pair
from quant.canonical_json import whole_file

Stage = Callable[[str, int], Callable[[int], None]]


@dataclass(frozen=True)
class PredictionSpec:
    """`count` prompts of `length` tokens from WikiText-2 or a JSONL `file`, distributions at their last `positions`
    tokens, and a greedy answer of `answer_tokens`; `repeat` reads a baseline's a second time.
    """

    file: Path | None
    count: int
    length: int
    positions: int
    answer_tokens: int
    seed: int
    repeat: bool


def prompts_of(spec: PredictionSpec, tokenizer: Tokenizer, root: Path | None) -> Prompts:
    """The prompts in a model's own tokens. Raises DataError."""
    if spec.file is not None:
        return own_prompts(tokenizer, spec.file, spec.count, spec.length, spec.seed)
    return wikitext_prompts(tokenizer, wikitext2_test(root), spec.count, spec.length, spec.seed)


def read_predictions(
    endpoint: Endpoint, spec: PredictionSpec, prompts: Prompts, file: Path, stage: Stage, *, repeat: bool = False
) -> Predictions:
    """What the served checkpoint predicts on the prompts; distributions go to `file` where the server tells them.

    `repeat` asks one prompt at a time, so that the server's batches are others than before.
    """
    pairs = [Pair(ids[: -_last(spec, ids)], ids[-_last(spec, ids) :]) for ids in prompts.ids]
    strategy, top = endpoint.dialect.prompt_logprobs, endpoint.dialect.top_tokens
    advance = stage("predictions", len(pairs))
    logprobs: tuple[tuple[float, ...], ...] = ()
    if top:
        distributions = tell(endpoint, pairs, advance, alone=repeat)
        logprobs = tuple(distribution.chosen for distribution in distributions)
        save(distributions, file)
    elif strategy != "none":
        scores = score(endpoint, pairs, lambda filled: advance(len(filled)))
        logprobs = tuple(scored.logprobs for scored in scores)
    asked = [Prompt(ids, spec.answer_tokens, ()) for ids in prompts.ids]
    greedy = generate(endpoint, asked) if spec.answer_tokens else []
    return Predictions(
        text=WIKITEXT if spec.file is None else prompts.name,
        text_sha256=prompts.sha256,
        logprobs=logprobs,
        greedy=tuple(greedy),
        top_tokens=top,
        file=file.name if top else None,
        repeat=repeat,
    )


def _last(spec: PredictionSpec, ids: tuple[int, ...]) -> int:
    return min(spec.positions, len(ids) - 1)


def save(distributions: list[Distribution], file: Path) -> None:
    """All positions of all prompts, one after the other, as plain arrays (no pickle)."""
    arrays: dict[str, Any] = {"logprobs": np.concatenate([distribution.logprobs for distribution in distributions])}
    ids = [distribution.ids for distribution in distributions if distribution.ids is not None]
    if ids:
        arrays["ids"] = np.concatenate(ids)
    with whole_file(file, durable=True) as out:
        np.savez(out, **arrays)
