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
    """The requests in progress and their rows, in the same order."""

    requests: list[Generation] = field(default_factory=list)
    rows: Rows | None = None
    peak_cache_bytes: int = 0

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def join(self, model: Any, requests: Sequence[Generation]) -> None:
        """Run the new requests' prompts together, emit their first tokens, add them to the rows."""
        rows, logits = prefill(model, [request.prompt for request in requests])
        self.rows = rows if self.rows is None else merge(self.rows, rows)
        self._note_cache()
        joined = list(requests)
        self.requests += joined
        _emit(joined, logits)
        self._leave()

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def step(self, model: Any) -> None:
        """One more token for every request."""
        if self.rows is None:
            return
        ids = torch.tensor([[request.last] for request in self.requests], device=model.device)
        self.rows, logits = extend(model, self.rows, ids, torch.ones_like(ids))
        self._note_cache()
        _emit(self.requests, logits[:, -1])
        self._leave()

    def _note_cache(self) -> None:
        if self.rows is not None:
            self.peak_cache_bytes = max(self.peak_cache_bytes, self.rows.cache_bytes)

    def _leave(self) -> None:
        keep = [index for index, request in enumerate(self.requests) if not request.finished]
        if len(keep) == len(self.requests):
            return
        self.requests = [self.requests[index] for index in keep]
        self.rows = select(self.rows, keep) if self.rows is not None and keep else None


def _emit(requests: Sequence[Generation], logits: torch.Tensor) -> None:
    for request, token in zip(requests, logits.argmax(-1).tolist(), strict=True):
        request.take(token)
