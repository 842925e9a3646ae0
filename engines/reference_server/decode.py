"""Greedy generation with continuous batching: requests join and leave the running rows between two steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from engines.reference_server.kv_batch import Rows, extend, merge, prefill, select
from engines.reference_server.requests import Generation


@dataclass
class Running:
    """The generations in progress and their rows, in the same order."""

    generations: list[Generation] = field(default_factory=list)
    rows: Rows | None = None
    peak_cache_bytes: int = 0

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def join(self, model: Any, generations: Sequence[Generation]) -> None:
        """Run the new generations' prompts together, emit their first tokens, add them to the rows."""
        rows, logits = prefill(model, [generation.prompt for generation in generations])
        self.rows = rows if self.rows is None else merge(self.rows, rows)
        self._note_cache()
        joined = list(generations)
        self.generations += joined
        _emit(joined, logits)
        self._leave()

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def step(self, model: Any) -> None:
        """One more token for every generation."""
        if self.rows is None:
            return
        ids = torch.tensor([[generation.last] for generation in self.generations], device=model.device)
        self.rows, logits = extend(model, self.rows, ids, torch.ones_like(ids))
        self._note_cache()
        _emit(self.generations, logits[:, -1])
        self._leave()

    def _note_cache(self) -> None:
        if self.rows is not None:
            self.peak_cache_bytes = max(self.peak_cache_bytes, self.rows.cache_bytes)

    def _leave(self) -> None:
        keep = [index for index, generation in enumerate(self.generations) if not generation.finished]
        if len(keep) == len(self.generations):
            return
        self.generations = [self.generations[index] for index in keep]
        self.rows = select(self.rows, keep) if self.rows is not None and keep else None


def _emit(generations: Sequence[Generation], logits: torch.Tensor) -> None:
    for generation, token in zip(generations, logits.argmax(-1).tolist(), strict=True):
        generation.take(token)
