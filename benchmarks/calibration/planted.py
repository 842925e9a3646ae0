"""Planted truths: answers of a baseline and a cell whose true accuracies are known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evals.schema.trial import Trial
from evals.stats.intervals import Floats
from tests.support.made_trials import score, trial


@dataclass(frozen=True)
class Truth:
    """`right` of the baseline's answers are right; `lost` and `gained` are shares of all questions.

    Questions come in passages of so many; `alike` is the intraclass correlation of their difficulty, and of flips.
    """

    tasks: int
    questions: int
    lost: float
    gained: float
    right: float = 0.5
    passage: int = 1
    alike: float = 0.3

    @property
    def recovery(self) -> float:
        return 1 + (self.gained - self.lost) / self.right

    @property
    def accuracy(self) -> float:
        return self.right + self.gained - self.lost

    def drawn(self, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """(cell, baseline), each of shape (tasks, questions)."""
        base = generator.random((self.tasks, self.questions)) < self.shares(self.right, generator)
        flips = generator.random(base.shape)
        lost = flips < self.shares(self.lost / self.right, generator)
        gained = flips < self.shares(self.gained / (1 - self.right), generator)
        return np.where(base, ~lost, gained).astype(np.float64), base.astype(np.float64)

    def shares(self, mean: float, generator: np.random.Generator) -> Floats:
        """Of each question, the same within a passage: Beta's distribution around the mean."""
        passages = self.questions // self.passage
        if self.passage == 1 or mean == 0:
            return np.full((self.tasks, self.questions), mean)
        size = 1 / self.alike - 1
        return np.repeat(generator.beta(mean * size, (1 - mean) * size, (self.tasks, passages)), self.passage, axis=1)

    def trial(self, method: str, answers: Floats) -> Trial:
        names = tuple(f"p{number // self.passage}" for number in range(self.questions)) if self.passage > 1 else ()
        scores = tuple(replace(score(f"t{i}", row), clusters=names) for i, row in enumerate(answers))
        return replace(trial(method, 10, 1, 50), scores=scores, perplexities=())
