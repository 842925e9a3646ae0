"""Greedy answers to prompts, for lm-eval's tasks that generate text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engines.types import Endpoint
from evals.api.formats import completion_body, completion_path, completion_text
from evals.api.post import ask, connect

IN_FLIGHT = 4
Done = Callable[[Sequence[tuple[int, str]]], None]  # gets (index, text) of what was just finished


@dataclass(frozen=True)
class Prompt:
    """Token ids to go on from, how many tokens at most, and the texts that end the answer."""

    token_ids: tuple[int, ...]
    max_tokens: int
    until: tuple[str, ...]


def generate(endpoint: Endpoint, prompts: Sequence[Prompt], done: Done = lambda _: None) -> list[str]:
    """Answer all prompts, cut before the first of their stop texts, in the order given. Raises ScoringFailed."""
    return asyncio.run(_run(endpoint, prompts, done))


async def _run(endpoint: Endpoint, prompts: Sequence[Prompt], done: Done) -> list[str]:
    answers = [""] * len(prompts)
    waiting = iter(enumerate(prompts))
    async with connect(endpoint) as client:

        async def worker() -> None:
            for index, prompt in waiting:
                body = completion_body(endpoint, prompt.token_ids, prompt.max_tokens, ignore_eos=False, stream=False)
                answer = await ask(client, completion_path(endpoint.dialect, stream=False), body)
                answers[index] = cut(completion_text(endpoint.dialect, answer), prompt.until)
                done([(index, answers[index])])

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return answers


def cut(text: str, until: Sequence[str]) -> str:
    """`text` before the earliest of the stop texts."""
    ends = [text.index(stop) for stop in until if stop and stop in text]
    return text[: min(ends)] if ends else text
