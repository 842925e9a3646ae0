"""Streams as they may come: in each form, with either line end, cut anywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engines.registry import engines_by_name
from engines.types import Dialect
from evals.api.formats import Piece, read_event
from evals.load.sse import Stream, StreamBroken, read_stream

OPENAI = Dialect(prompt_logprobs="none", chunk_tokens="usage", metrics=None)
TIMINGS = Dialect(prompt_logprobs="none", chunk_tokens="timings", metrics=None)
ONE_A_CHUNK = Dialect(prompt_logprobs="none", chunk_tokens="one", metrics=None)
CHOICE = {"choices": [{"text": "é\u2028"}]}
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
KNOWN = Piece("é\u2028", counted=2, prompt_tokens=5, cached=4)


def _openai_stream(end: bytes) -> bytes:
    usages = ({"prompt_tokens": 5, "completion_tokens": count} for count in (1, 3))
    events = [json.dumps({**CHOICE, "usage": usage}, ensure_ascii=False).encode() for usage in usages]
    lines = [b": a comment", *(b"data: " + event for event in events), b"data: [DONE]"]
    return b"".join(line + end + end for line in lines)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_event_has_the_time_at_which_the_end_of_its_line_came(end: bytes) -> None:
    data = _openai_stream(end)
    ends = [data.index(b"\n", data.index(b'"completion_tokens": %d' % count)) for count in (1, 3)]
    for cut in range(1, len(data)):
        stream = Stream(OPENAI, origin_seconds=10.0)
        read_stream([(11.0, data[:cut]), (12.0, data[cut:])], stream)
        assert stream.chunks == [(1.0 if at < cut else 2.0, tokens) for at, tokens in zip(ends, (1, 3), strict=True)]
        assert (stream.tokens, stream.prompt_tokens) == (3, 5)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_of_json_are_read_wherever_they_are_cut(end: bytes) -> None:
    documents = [
        {"response": "é", "done": False},
        {"response": "", "done": True, "eval_count": 1, "prompt_eval_count": 5},
    ]
    data = b"".join(json.dumps(document).encode() + end for document in documents) + end
    for size in range(1, len(data)):
        stream = Stream(engines_by_name()["ollama"].dialect)
        read_stream([(1.0, data[at : at + size]) for at in range(0, len(data), size)], stream)
        assert (stream.chunks, stream.tokens, stream.prompt_tokens) == ([(1.0, 1)], 1, 5)


@pytest.mark.parametrize(
    ("dialect", "payload", "piece"),
    [
        (OPENAI, {**CHOICE, "usage": USAGE}, KNOWN._replace(so_far=2)),
        (OPENAI, {**CHOICE, "usage": None}, Piece("é\u2028")),
        (OPENAI, {"choices": [{"text": None}]}, Piece()),
        (OPENAI, {"choices": [], "usage": USAGE}, KNOWN._replace(text="", closing=True)),
        (OPENAI, {"usage": {**USAGE, "prompt_tokens_details": None}}, Piece("", None, 2, 5, closing=True)),
        (ONE_A_CHUNK, {**CHOICE, "usage": USAGE}, KNOWN),
        (TIMINGS, {**CHOICE, "timings": {"predicted_n": 7, "cache_n": 3}}, Piece("é\u2028", 7, cached=3)),
        (TIMINGS, {**CHOICE, "usage": USAGE}, KNOWN._replace(cached=None)),
        (OPENAI, {"error": {"message": "no memory"}, **CHOICE}, Piece(error="no memory")),
    ],
)
def test_an_event_says_so_much_and_no_more(dialect: Dialect, payload: dict[str, Any], piece: Piece) -> None:
    event = read_event(dialect, payload)
    assert event == piece
    assert len(event) == len(Piece._fields)
    assert isinstance(event, Piece)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"data: {1}", r"an event is not JSON: ' \{1\}'"),
        (b'data: {"choices": []', "an event is not JSON"),
        (b"data: 7", "an event is not of the form that was expected"),
        (b'data: {"choices": [], "usage": [1]}', "an event is not of the form that was expected"),
        (b'error: {"message": "no memory"}\r', "^no memory$"),
        (b"nothing", r"the stream ended without its end marker \[DONE\]"),
    ],
)
def test_what_cannot_be_read_is_said(line: bytes, words: str) -> None:
    with pytest.raises(StreamBroken, match=words):
        read_stream([(1.0, line + b"\n")], Stream(OPENAI))


def test_a_line_that_does_not_end_breaks_the_stream() -> None:
    reads = ((float(number), b"data: " + b"x" * 2**20) for number in range(50))
    with pytest.raises(StreamBroken, match="a line of the stream is too long: over 4 MiB"):
        read_stream(reads, Stream(OPENAI))
    assert next(reads)[0] == 4.0


@pytest.mark.parametrize("count", ["1e400", '"many"', "[3]", "2.5", "true"])
def test_counts_that_are_none_are_said(count: str) -> None:
    event = b'data: {"choices": [{"text": "a"}], "usage": {"prompt_tokens": 5, "completion_tokens": %s}}\n\n'
    with pytest.raises(StreamBroken, match=r"not (of the form that was expected|JSON)"):
        read_stream([(1.0, event % count.encode())], Stream(OPENAI))


def test_a_count_without_bound_is_said() -> None:
    dialect = engines_by_name()["triton"].dialect
    event = {"text": "a", "completion_tokens": float("1e308") * 10, "prompt_tokens": 5}
    with pytest.raises(StreamBroken, match=r"not of the form that was expected \(OverflowError"):
        Stream(dialect).take(event, 1.0)


def test_a_float_is_no_count() -> None:
    event = {"choices": [{"text": "a"}], "usage": {"prompt_tokens": 5, "completion_tokens": 2.5}}
    with pytest.raises(StreamBroken, match=r"\[2\.5, 2\.5, 5\] are not counts of tokens"):
        Stream(OPENAI).take(event, 1.0)
