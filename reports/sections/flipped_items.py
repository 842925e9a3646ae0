"""Single questions whose answer flipped: what was asked, and how likely each answer was before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from evals.schema.accuracy import Score
from evals.schema.trial import Trial
from evals.stats.paired_items import headline

MOST = {"right → wrong": 2, "wrong → right": 1}
Direction = Literal["right → wrong", "wrong → right"]


@dataclass(frozen=True)
class Answer:
    """One answer with its log-likelihood (nats) by the baseline and by the cell; None where it was generated."""

    text: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Flipped:
    """One question of a task that one side alone got right."""

    task: str
    direction: Direction
    question: str
    answers: tuple[Answer, ...]


def flipped(trial: Trial, reference: Trial | None) -> list[Flipped]:
    """The first few of each direction, in the random order of their task; only the baseline's texts are kept."""
    known = {score.task: score for score in reference.scores} if reference else {}
    ranked = [flip for ours in trial.scores if ours.task in known for flip in _flips(ours, known[ours.task])]
    ranked.sort(key=lambda pair: pair[0])
    selected: list[Flipped] = []
    for _, flip in ranked:
        if sum(other.direction == flip.direction for other in selected) < MOST[flip.direction]:
            selected.append(flip)
    return selected


def _flips(ours: Score, theirs: Score) -> Iterator[tuple[int, Flipped]]:
    metric, rows = headline(theirs), {key: number for number, key in enumerate(ours.item_keys)}
    if metric is None or metric != headline(ours) or not theirs.texts or not theirs.ranks:
        return
    column = theirs.metrics.index(metric)
    for number, key in enumerate(theirs.item_keys):
        here = rows.get(key)
        if here is None or not theirs.texts[number]:
            continue
        was, now = theirs.values[number][column], ours.values[here][column]
        if was != now:
            direction: Direction = "right → wrong" if was > now else "wrong → right"
            question, *texts = theirs.texts[number]
            answers = _answers(texts, theirs.loglikelihoods[number], ours.loglikelihoods[here])
            yield theirs.ranks[number], Flipped(ours.group, direction, question, answers)


def _answers(texts: list[str], before: tuple[float, ...], after: tuple[float, ...]) -> tuple[Answer, ...]:
    if len(before) != len(texts) or len(after) != len(texts):
        return tuple(Answer(text, None, None) for text in texts)
    return tuple(Answer(text, was, now) for text, was, now in zip(texts, before, after, strict=True))
