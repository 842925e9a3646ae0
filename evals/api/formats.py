"""How completions and scores are asked for and answered, in each form that a dialect may have.

Forms: OpenAI's `/v1/completions`; the generate extension of KServe's protocol as Triton has it
(https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md), with the tensors of
our model repository (`engines/launchers/triton_model.py`) or those of Triton's vLLM backend; TGI's own API (its
`docs/openapi.json`); Ollama's (https://github.com/ollama/ollama/blob/main/docs/api.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from engines.redaction import excerpt
from engines.types import Dialect, Endpoint, Form
from evals.api.tokenizers import added_ids, load_tokenizer, ordinary_ids, text_of, word_ids
from quant.canonical_json import read_regular
from quant.checkpoints.configuration import vocabulary_size


class Piece(NamedTuple):
    """One event of a stream. None where the event does not tell.

    `so_far`: the tokens up to this chunk, where chunks tell it, or `added`: those of this one alone; `counted`: the
    server's count of output tokens; `cached`: tokens of the prompt that came from a prefix cache.
    `closing`: the event brings no text, only counts. `last`: no other follows.
    """

    text: str = ""
    so_far: int | None = None
    counted: int | None = None
    prompt_tokens: int | None = None
    closing: bool = False
    last: bool = False
    error: str | None = None
    added: int | None = None
    cached: int | None = None


@cache
def _tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


def prompt_of(endpoint: Endpoint, ids: Sequence[int]) -> list[int] | str:
    """The prompt as the server takes it. Raises ValueError where it takes text and none gives these ids."""
    if endpoint.dialect.prompts == "ids":
        return list(ids)
    if endpoint.tokenizer is None:
        raise ValueError("this server takes text alone, and no tokenizer is known that would count its tokens")
    return text_of(_tokenizer(endpoint.tokenizer), ids)


def prompt_prefix(endpoint: Endpoint) -> list[int]:
    """What a server that takes text puts before it by itself."""
    if endpoint.dialect.prompts == "ids" or endpoint.tokenizer is None:
        return []
    return added_ids(_tokenizer(endpoint.tokenizer))


def prompt_vocabulary(endpoint: Endpoint, folder: Path) -> list[int]:
    """The ids that prompts may be drawn from: all but special ones, or whole words where text is sent; never one that
    the tokenizer knows and the model has no row of its embedding for.
    """
    ids = ordinary_ids(_tokenizer(folder)) if endpoint.dialect.prompts == "ids" else word_ids(_tokenizer(folder))
    file = folder / "config.json"
    rows = vocabulary_size(json.loads(read_regular(file))) if file.exists() else None
    return ids if rows is None else [index for index in ids if index < rows]


def completion_path(dialect: Dialect, *, stream: bool) -> str:
    return (dialect.streams or dialect.completions) if stream else dialect.completions


def completion_body(
    endpoint: Endpoint, ids: Sequence[int], max_tokens: int, *, ignore_eos: bool, stream: bool
) -> dict[str, Any]:
    """A greedy completion of at most `max_tokens`; of exactly so many with `ignore_eos`, where the server knows it.

    Raises ValueError where the server takes text and none gives these ids.
    """
    dialect, prompt = endpoint.dialect, prompt_of(endpoint, ids)
    body: dict[str, Any]
    if dialect.form == "kserve":
        body = {"prompt": prompt, "max_tokens": max_tokens, "ignore_eos": ignore_eos, "stream": stream}
    elif dialect.form == "text_input":
        sampling = {"max_tokens": max_tokens, "temperature": 0, "ignore_eos": ignore_eos}
        counts = {"return_num_input_tokens": True, "return_num_output_tokens": True}
        body = {"text_input": prompt, "stream": stream, "sampling_parameters": json.dumps(sampling), **counts}
        body["exclude_input_in_output"] = True
    elif dialect.form == "tgi":
        body = {"inputs": prompt, "parameters": {"max_new_tokens": max_tokens, "do_sample": False, "details": True}}
    elif dialect.form == "ollama":  # raw: else it puts the prompt into its chat template
        options = {"num_predict": max_tokens, "temperature": 0, "repeat_penalty": 1.0}
        body = {"model": dialect.model, "prompt": prompt, "raw": True, "stream": stream, "options": options}
    else:
        body = _openai_body(dialect, prompt, max_tokens, ignore_eos=ignore_eos, stream=stream)
    return {**body, **dialect.request_fields}


def _openai_body(
    dialect: Dialect, prompt: list[int] | str, max_tokens: int, *, ignore_eos: bool, stream: bool
) -> dict[str, Any]:
    body: dict[str, Any] = {"model": dialect.model, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0}
    if ignore_eos and dialect.ignore_eos:
        body["ignore_eos"] = True
    if stream:
        continuous = {"continuous_usage_stats": True} if dialect.chunk_tokens == "usage" else {}
        body |= {"stream": True, "stream_options": {"include_usage": True, **continuous}}
    return body


def completion_text(dialect: Dialect, answer: Mapping[str, Any]) -> str:
    """The text of an answer that was not streamed. Raises KeyError or IndexError where there is none."""
    names = {"kserve": "text", "text_input": "text_output", "tgi": "generated_text", "ollama": "response"}
    text: str = answer["choices"][0]["text"] if dialect.form == "openai" else answer[names[dialect.form]]
    return text


def read_event(dialect: Dialect, payload: Mapping[str, Any]) -> Piece:
    """One event of a stream. Raises KeyError and the like where it is of another form."""
    if "error" in payload:
        error = payload["error"]
        return Piece(error=excerpt(str(error.get("message", error) if isinstance(error, dict) else error)))
    return READ_EVENT[dialect.form](dialect, payload)


def _openai_event(dialect: Dialect, payload: Mapping[str, Any]) -> Piece:
    so_far = counted = prompt_tokens = cached = None
    if usage := payload.get("usage"):
        prompt_tokens, counted = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if details := usage.get("prompt_tokens_details"):
            cached = details.get("cached_tokens")
    choices = payload.get("choices")
    if not choices:
        return Piece(counted=counted, prompt_tokens=prompt_tokens, closing=True, cached=cached)
    if dialect.chunk_tokens == "usage":
        so_far = counted
    elif dialect.chunk_tokens == "timings":
        timings = payload.get("timings") or {}
        so_far, cached = timings.get("predicted_n"), timings.get("cache_n")
    text = choices[0].get("text") or ""
    # as Piece(...) does it, in half the time: this is done for each token
    return tuple.__new__(Piece, (text, so_far, counted, prompt_tokens, False, False, None, None, cached))


def _kserve_event(dialect: Dialect, payload: Mapping[str, Any]) -> Piece:
    count = int(payload["completion_tokens"])
    return Piece(payload["text"], count, count, int(payload["prompt_tokens"]))


def _text_input_event(dialect: Dialect, payload: Mapping[str, Any]) -> Piece:
    added = int(payload["num_output_tokens"])
    return Piece(payload["text_output"], added=added, prompt_tokens=int(payload["num_input_tokens"]))


def _tgi_event(dialect: Dialect, payload: Mapping[str, Any]) -> Piece:
    """One token an event, numbered from 1; the last has the whole text and the counts."""
    details = payload.get("details")
    text, index = payload["token"]["text"], int(payload["index"])
    if details is None:
        return Piece(text, index)
    return Piece(text, index, int(details["generated_tokens"]), int(details["input_length"]), last=True)


def _ollama_event(dialect: Dialect, payload: Mapping[str, Any]) -> Piece:
    """Text as it comes; the last event has the counts. A prompt that it kept from before is not counted again."""
    if not payload["done"]:
        return Piece(payload["response"])
    return Piece(
        "", None, int(payload["eval_count"]), int(payload.get("prompt_eval_count", 0)), closing=True, last=True
    )


READ_EVENT: Mapping[Form, Callable[[Dialect, Mapping[str, Any]], Piece]] = {
    "openai": _openai_event,
    "kserve": _kserve_event,
    "text_input": _text_input_event,
    "tgi": _tgi_event,
    "ollama": _ollama_event,
}


def score_body(dialect: Dialect, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A request to our own `/score`; as one tensor of text where tensors are all that there is."""
    return {"items": json.dumps(items), **dialect.request_fields} if dialect.form == "kserve" else {"items": items}


def score_answer(dialect: Dialect, answer: Mapping[str, Any]) -> list[Any]:
    """Per item and continuation {"logprobs", "greedy"}."""
    scores: list[Any] = json.loads(answer["scores"]) if dialect.form == "kserve" else answer["scores"]
    return scores
