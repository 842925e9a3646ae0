from __future__ import annotations

from typing import Any

import pytest

from engines.reference_server.api_schema import (
    BadRequest,
    Item,
    Limits,
    Scored,
    event,
    prompt_logprobs,
    read_completion,
    read_items,
)

LIMITS = Limits(vocabulary=100, max_model_len=20)
GOOD: dict[str, Any] = {"prompt": [1, 2, 3], "max_tokens": 4, "temperature": 0}


def _encode(text: str) -> list[int]:
    return [len(word) for word in text.split()]


def test_a_completion_is_read() -> None:
    completion = read_completion(
        {**GOOD, "stream": True, "ignore_eos": True, "stream_options": {"continuous_usage_stats": True}},
        _encode,
        LIMITS,
    )
    assert completion.prompt == [1, 2, 3]
    assert completion.stream
    assert completion.ignore_eos
    assert completion.chunk_usage
    assert not completion.prompt_logprobs


def test_text_is_encoded() -> None:
    assert read_completion({**GOOD, "prompt": "a bb ccc"}, _encode, LIMITS).prompt == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": 0}, "max_tokens must be an integer of at least 1"),
        ({"max_tokens": "4"}, "max_tokens must be an integer"),
        ({"max_tokens": 18}, r"prompt \(3\) \+ max_tokens \(18\) is over max_model_len 20"),
        ({"temperature": 0.7}, "temperature must be 0"),
        ({"prompt": []}, "prompt must be a text or a non-empty list"),
        ({"prompt": None}, "prompt must be a text"),
        ({"prompt": [1, 100]}, r"prompt has a token id outside 0…99"),
    ],
)
def test_a_bad_completion_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        read_completion({**GOOD, **change}, _encode, LIMITS)


def test_items_are_read() -> None:
    body = {"items": [{"context": [1], "continuations": [[2, 3], [4]]}]}
    assert read_items(body, LIMITS) == [Item([1], [[2, 3], [4]])]


def test_a_window_may_predict_one_token_more_than_it_feeds() -> None:
    assert read_items({"items": [{"context": [1], "continuations": [[2] * 20]}]}, LIMITS)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "items must be a list of 1 to 4096 entries"),
        ({"items": []}, "items must be a list"),
        ({"items": [{"context": [], "continuations": [[1]]}]}, "context must be a text or a non-empty list"),
        ({"items": [{"context": [1], "continuations": []}]}, "continuations must be a list of at least one"),
        ({"items": [{"context": [1], "continuations": [[2] * 21]}]}, "has 22 tokens, over max_model_len"),
        ({"items": [{"context": [1], "continuations": [[-1]]}]}, "continuation has a token id outside"),
    ],
)
def test_bad_items_are_refused(body: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        read_items(body, LIMITS)


def test_prompt_logprobs_have_vllms_form() -> None:
    shown = prompt_logprobs([5, 6, 7], Scored([-1.0, -2.0], [True, False]))
    assert shown == [None, {"6": {"logprob": -1.0, "rank": 1}}, {"7": {"logprob": -2.0, "rank": 2}}]
    assert prompt_logprobs([5], None) == [None]


def test_an_event_is_one_line_of_json() -> None:
    assert event({"a": "x\ny"}) == b'data: {"a":"x\\ny"}\n\n'
