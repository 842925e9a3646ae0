"""How far a model's best answer to an item was ahead of its next one: where that is little, quantization flips it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

LEAST = 1e-12  # probabilities are kept this far from 0 and 1


def answer_margins(samples: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> tuple[float, ...]:
    """Of each of lm-eval's samples, in nats (per character where the metric is `acc_norm`); empty where one has none,
    as generated answers have none.
    """
    margins = [_margin(sample, by_character="acc_norm" in metrics) for sample in samples]
    return () if any(math.isnan(margin) for margin in margins) else tuple(margins)


def _margin(sample: Mapping[str, Any], *, by_character: bool) -> float:
    answers = sample["filtered_resps"]
    if not all(isinstance(answer, (tuple, list)) and len(answer) == 2 for answer in answers):
        return math.nan
    if len(answers) == 1:
        # right where the model would give it: the log-odds of what the model does. Its other answers are not known;
        # all of them together are the next best one
        nats, greedy = answers[0]
        probability = min(max(math.exp(min(nats, 0.0)), LEAST), 1 - LEAST)
        odds = math.log(probability / (1 - probability))
        return odds if greedy else -odds
    sizes = [max(len(continuation.strip()), 1) if by_character else 1 for _, continuation in sample["arguments"]]
    best = sorted(float(nats) / size for (nats, _), size in zip(answers, sizes, strict=False))
    return best[-1] - best[-2]
