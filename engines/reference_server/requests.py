"""What the server asks of the thread that owns the model. Standard library and tokenizers only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer

from engines.reference_server.api_schema import Item, Scored
from quant.checkpoints.configuration import text_configuration


def stop_ids(folder: Path) -> frozenset[int]:
    """The ids that end a text, of `generation_config.json`, or of `config.json` in older checkpoints without it."""
    own = folder / "generation_config.json"
    settings = json.loads((own if own.exists() else folder / "config.json").read_text(encoding="utf-8"))
    ids = (settings if own.exists() else text_configuration(settings)).get("eos_token_id")
    return frozenset(ids if isinstance(ids, list) else [] if ids is None else [ids])


@dataclass(frozen=True)
class Served:
    """The model as requests see it: its tokenizer, the ids that end a text, the size of its vocabulary."""

    tokenizer: Tokenizer
    stop_ids: frozenset[int]
    vocabulary: int
    versions: Mapping[str, str]


@dataclass
class Generation:
    """One request. `emit(token, finish_reason)` is called for every token; the reason is None until the last."""

    prompt: list[int]
    max_tokens: int
    stop_ids: frozenset[int]
    emit: Callable[[int, str | None], None]
    cancelled: bool = False
    produced: int = 0
    last: int = -1

    def take(self, token: int) -> None:
        """Note the next token and pass it on."""
        self.last = token
        self.produced += 1
        self.emit(token, self.finish_reason)

    @property
    def finish_reason(self) -> str | None:
        if self.last in self.stop_ids:
            return "stop"
        return "length" if self.produced >= self.max_tokens else None

    @property
    def finished(self) -> bool:
        return self.cancelled or self.finish_reason is not None


@dataclass
class ScoreJob:
    """Items to score together; the future gets the results or the exception."""

    items: list[Item]
    future: Future[list[list[Scored]]]


class Runner(Protocol):
    """A thread that owns a model: generation first, scoring when nothing is being generated."""

    def submit(self, job: Generation | ScoreJob) -> None: ...

    @property
    def peak_cache_bytes(self) -> int: ...
