"""How completions and scores are asked for and answered, in each form that a dialect may have.

Forms: OpenAI's `/v1/completions`; the generate extension of KServe's protocol as Triton has it
(https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md), with the tensors of
our model repository (`engines/thin/triton_model.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.spec import Dialect


@dataclass(frozen=True)
class Piece:
    """One event of a stream. None where the event does not tell.

    `so_far`: the tokens up to this chunk, where chunks tell it; `counted`: the server's count of output tokens.
    `closing`: the event brings no text, only counts.
    """

    text: str = ""
    so_far: int | None = None
    counted: int | None = None
    prompt_tokens: int | None = None
    closing: bool = False
    error: str | None = None


def completion_path(dialect: Dialect, *, stream: bool) -> str:
    return (dialect.streams or dialect.completions) if stream else dialect.completions


def completion_body(
    dialect: Dialect, prompt: Sequence[int], max_tokens: int, *, ignore_eos: bool, stream: bool
) -> dict[str, Any]:
    """A greedy completion of at most `max_tokens`; of exactly so many with `ignore_eos`."""
    if dialect.form == "kserve":
        return {
            "prompt": list(prompt), "max_tokens": max_tokens, "ignore_eos": ignore_eos, "stream": stream,
            **dialect.request_fields,
        }  # fmt: skip
    body = {"model": "served", "prompt": list(prompt), "max_tokens": max_tokens, "temperature": 0}
    if ignore_eos:
        body["ignore_eos"] = True
    if stream:
        continuous = {"continuous_usage_stats": True} if dialect.chunk_tokens == "usage" else {}
        body |= {"stream": True, "stream_options": {"include_usage": True, **continuous}}
    return {**body, **dialect.request_fields}


def completion_text(dialect: Dialect, answer: Mapping[str, Any]) -> str:
    """The text of an answer that was not streamed. Raises KeyError or IndexError where there is none."""
    text: str = answer["text"] if dialect.form == "kserve" else answer["choices"][0]["text"]
    return text


def read_event(dialect: Dialect, payload: Mapping[str, Any]) -> Piece:
    """One event of a stream."""
    if "error" in payload:
        error = payload["error"]
        return Piece(error=str(error.get("message", error) if isinstance(error, dict) else error)[:300])
    if dialect.form == "kserve":
        count = int(payload["completion_tokens"])
        return Piece(payload["text"], count, count, int(payload["prompt_tokens"]))
    usage = payload.get("usage") or {}
    prompt_tokens, counted = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not payload.get("choices"):
        return Piece(counted=counted, prompt_tokens=prompt_tokens, closing=True)
    told = {"usage": counted, "timings": (payload.get("timings") or {}).get("predicted_n"), "one": None}
    text = payload["choices"][0].get("text") or ""
    return Piece(text, told[dialect.chunk_tokens], counted, prompt_tokens)


def score_body(dialect: Dialect, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A request to our own `/score`; as one tensor of text where tensors are all that there is."""
    return {"items": json.dumps(items)} if dialect.form == "kserve" else {"items": items}


def score_answer(dialect: Dialect, answer: Mapping[str, Any]) -> list[Any]:
    """Per item and continuation {"logprobs", "greedy"}."""
    scores: list[Any] = json.loads(answer["scores"]) if dialect.form == "kserve" else answer["scores"]
    return scores
