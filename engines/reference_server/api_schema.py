"""Reading requests and writing answers in OpenAI's completions form, with vLLM's extensions that we use."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quant.errors import BitfrontierError

MAX_ITEMS = 4096


class BadRequest(BitfrontierError):
    """The request cannot be served; the message says which field and what it must be. `status` is HTTP's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Item:
    """A context (at least one token) and the continuations to score after it (each at least one token).

    `full_vocabulary`: the log-probabilities of the whole vocabulary are wanted at each token of the continuations.
    """

    context: list[int]
    continuations: list[list[int]]
    full_vocabulary: bool = False


@dataclass(frozen=True)
class Scored:
    """Of one continuation: natural-log probability of each token, and whether each was the most likely one.

    `full_vocabulary`, where it was asked for: little-endian float32 of shape (tokens, vocabulary).
    """

    logprobs: list[float]
    greedy: list[bool]
    full_vocabulary: bytes = b""

    def as_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"logprobs": self.logprobs, "greedy": self.greedy}
        return fields | ({"whole": base64.b64encode(self.full_vocabulary).decode()} if self.full_vocabulary else {})


@dataclass(frozen=True)
class Completion:
    """A validated `/v1/completions` request."""

    prompt: list[int]
    max_tokens: int
    ignore_eos: bool
    stream: bool
    chunk_usage: bool
    prompt_logprobs: bool


@dataclass(frozen=True)
class Limits:
    """What a request must fit into."""

    vocabulary: int
    max_model_len: int


def read_completion(body: Mapping[str, Any], encode: Any, limits: Limits) -> Completion:
    """Validate; `encode` turns a text prompt into token ids. Raises BadRequest."""
    prompt = body.get("prompt")
    ids = encode(prompt) if isinstance(prompt, str) else _token_ids(prompt, "prompt", limits)
    max_tokens = body.get("max_tokens", 16)
    if not isinstance(max_tokens, int) or max_tokens < 1:
        raise BadRequest("max_tokens must be an integer of at least 1")
    if len(ids) + max_tokens > limits.max_model_len:
        raise BadRequest(
            f"prompt ({len(ids)}) + max_tokens ({max_tokens}) is over max_model_len {limits.max_model_len}"
        )
    if body.get("temperature", 1) != 0:
        raise BadRequest("temperature must be 0: this server decodes greedily")
    usage = body.get("stream_options") or {}
    return Completion(
        prompt=ids,
        max_tokens=max_tokens,
        ignore_eos=bool(body.get("ignore_eos", False)),
        stream=bool(body.get("stream", False)),
        chunk_usage=bool(usage.get("continuous_usage_stats", False)),
        prompt_logprobs=body.get("prompt_logprobs") is not None,
    )


def read_items(body: Mapping[str, Any], limits: Limits) -> list[Item]:
    """Validate a `/score` request: {"items": [{"context": ids, "continuations": [ids, …]}, …]}.

    An item with `"whole": true` is told the whole vocabulary's log-probabilities too.
    """
    raw = body.get("items")
    if not isinstance(raw, list) or not 0 < len(raw) <= MAX_ITEMS:
        raise BadRequest(f"items must be a list of 1 to {MAX_ITEMS} entries")
    items = []
    for entry in raw:
        context = _token_ids(entry.get("context"), "context", limits)
        continuations = [_token_ids(ids, "continuation", limits) for ids in entry.get("continuations") or []]
        if not continuations:
            raise BadRequest("continuations must be a list of at least one list of token ids")
        longest = max(len(ids) for ids in continuations)
        if len(context) + longest > limits.max_model_len + 1:  # the last token is only predicted, never fed
            raise BadRequest(f"context + continuation has {len(context) + longest} tokens, over max_model_len")
        items.append(Item(context, continuations, full_vocabulary=entry.get("whole") is True))
    return items


def _token_ids(value: object, name: str, limits: Limits) -> list[int]:
    if not isinstance(value, list) or not value or not all(isinstance(token, int) for token in value):
        raise BadRequest(f"{name} must be a text or a non-empty list of token ids")
    if not all(0 <= token < limits.vocabulary for token in value):
        raise BadRequest(f"{name} has a token id outside 0…{limits.vocabulary - 1}")
    return value


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def choice(text: str, finish_reason: str | None, token_ids: list[int]) -> dict[str, Any]:
    return {"index": 0, "text": text, "finish_reason": finish_reason, "token_ids": token_ids}


def event(payload: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def prompt_logprobs(prompt: list[int], scored: Scored | None) -> list[dict[str, Any] | None]:
    """vLLM's form: nothing for the first token, then {token id: {"logprob", "rank"}}; rank 1 means most likely."""
    if scored is None:
        return [None]
    rest = zip(prompt[1:], scored.logprobs, scored.greedy, strict=True)
    return [None, *({str(t): {"logprob": p, "rank": 1 if greedy else 2}} for t, p, greedy in rest)]
