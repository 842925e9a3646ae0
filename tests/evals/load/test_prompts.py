"""What is sent: counts, what is shared and what is not."""

from __future__ import annotations

import pytest

from evals.load.prompts import Prompts
from evals.schema.load import LoadPoint

PROMPTS = Prompts(range(100, 5000))


def test_prompts_are_distinct_and_repeatable() -> None:
    load = LoadPoint(4, 20, 16, 8)
    first = [ask.prompt for (ask,) in PROMPTS.draw(load, seed=0, repeat=0)]
    assert first == [ask.prompt for (ask,) in PROMPTS.draw(load, seed=0, repeat=0)]
    other = [ask.prompt for (ask,) in PROMPTS.draw(load, seed=0, repeat=1)]
    assert len({tuple(prompt) for prompt in first + other}) == 40
    assert all(len(prompt) == 16 and set(prompt) <= {*PROMPTS.vocabulary} for prompt in first)
    assert len({prompt[0] for prompt in first + other}) > 35  # not even their beginnings are shared


def test_a_system_prompt_is_the_same_in_all_requests_and_repeats() -> None:
    load = LoadPoint(4, 20, 16, 8, shared_prefix_tokens=12)
    prompts = [ask.prompt for repeat in (0, 1) for (ask,) in PROMPTS.draw(load, seed=0, repeat=repeat)]
    assert len({tuple(prompt[:12]) for prompt in prompts}) == 1
    assert len({tuple(prompt[12:]) for prompt in prompts}) == 40
    assert {len(prompt) for prompt in prompts} == {16}
    assert load.known_share == pytest.approx(12 / 16)


def test_each_turn_holds_all_before_it() -> None:
    load = LoadPoint(2, 8, 10, 6, shared_prefix_tokens=4, turns=4)
    first, second = PROMPTS.draw(load, seed=0, repeat=0)
    assert [len(ask.prompt) for ask in first] == [10, 22, 34, 46]
    for before, after in zip(first, first[1:], strict=False):
        assert after.prompt[: len(before.prompt)] == before.prompt
    assert first[0].prompt[:4] == second[0].prompt[:4]
    assert first[0].prompt != second[0].prompt
    assert load.longest_tokens == 46 + 6
    assert load.known_share == pytest.approx((4 + 10 + 22 + 34) / (10 + 22 + 34 + 46))  # the prompt before it


def test_what_a_server_puts_before_is_counted() -> None:
    for load in (LoadPoint(1, 2, 10, 6), LoadPoint(1, 2, 10, 6, shared_prefix_tokens=4)):
        for (ask,) in Prompts(range(100, 5000), before=[1, 2]).draw(load, seed=0, repeat=0):
            assert ask.prompt[:2] == [1, 2]
            assert len(ask.prompt) == 10


def test_own_prompts_are_taken_in_turn_and_cut() -> None:
    own = [[1, 2, 3], [4, 5], [6, 7, 8, 9, 10]]
    prompts = Prompts(range(100, 5000), own={"mine.jsonl": own})
    load = LoadPoint(1, 7, 4, 6, prompts="mine.jsonl")
    drawn = [ask.prompt for (ask,) in prompts.draw(load, seed=0, repeat=0)]
    assert {tuple(prompt) for prompt in drawn} == {(1, 2, 3), (4, 5), (6, 7, 8, 9)}
    assert drawn[:3] == drawn[3:6]
    assert load.label == "mine.jsonl: concurrency 1"
