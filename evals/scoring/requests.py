"""The requests that ask for log-probabilities, one builder and one reader for each way that a server may know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from engines.shared_prefix import families
from engines.types import Dialect
from evals.api.formats import score_answer, score_body
from evals.api.post import ScoringFailed
from evals.scoring.types import Pair, Scored

TOKENS_PER_REQUEST = 2048
TOKENS_PER_FAMILY = 8192  # of contexts that begin alike, which are run anew in every request
Answer = Any  # JSON as it came; a reader that does not find what it needs raises
Filled = list[tuple[int, Scored]]


@dataclass(frozen=True)
class Job:
    """One HTTP request, how its answer is read: (index of the pair, its scores), and of how many positions that holds
    the whole vocabulary.
    """

    path: str
    body: dict[str, Any]
    read: Callable[[Answer], Filled]
    rows: int = 0


def jobs_for(dialect: Dialect, pairs: Sequence[Pair]) -> list[Job]:
    """All requests that score `pairs` on a server of this dialect."""
    if dialect.prompt_logprobs == "score":
        return list(_score_jobs(dialect, pairs))
    if dialect.prompt_logprobs == "logprob_start_len":
        return list(_start_len_jobs(pairs))
    if dialect.prompt_logprobs == "echo":
        return list(_echo_jobs(dialect, pairs))
    if dialect.prompt_logprobs == "context_logits":
        return list(_context_logits_jobs(dialect, pairs))
    return [*_label_jobs(dialect, pairs), *_completion_jobs(dialect, pairs)]


def _by_context(pairs: Sequence[Pair], chosen: Sequence[int]) -> dict[tuple[int, ...], list[int]]:
    """Indexes of the pairs by their context, short contexts first."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index in sorted(chosen, key=lambda i: len(pairs[i].context)):
        groups.setdefault(pairs[index].context, []).append(index)
    return groups


def _groups(sizes: Mapping[Any, int], most: int = TOKENS_PER_REQUEST) -> Iterator[list[Any]]:
    """Keys in groups of similar size, none over `most` tokens when padded to its longest, unless it is alone."""
    group: list[Any] = []
    for key in sorted(sizes, key=lambda candidate: sizes[candidate]):
        if group and sizes[key] * (len(group) + 1) > most:
            yield group
            group = []
        group.append(key)
    if group:
        yield group


def _grouped(sizes: Mapping[tuple[int, ...], int]) -> Iterator[list[tuple[int, ...]]]:
    """Contexts that begin alike together, without counting again what they share; the others by their length."""
    contexts, alone = list(sizes), {}
    for shared, members in families(contexts):
        if len(members) == 1:
            alone[contexts[members[0]]] = sizes[contexts[members[0]]]
        else:
            own = {contexts[index]: sizes[contexts[index]] - shared for index in members}
            yield from _groups(own, TOKENS_PER_FAMILY)
    yield from _groups(alone)


def _score_jobs(dialect: Dialect, pairs: Sequence[Pair]) -> Iterator[Job]:
    """Requests for our own `/score`: pairs with one context become one item, items that begin alike or are of similar
    length one request.
    """
    by_context = _by_context(pairs, range(len(pairs)))
    sizes = {c: len(c) + sum(len(pairs[i].continuation) for i in indexes) for c, indexes in by_context.items()}
    for group in _grouped(sizes):
        indexes = [by_context[context] for context in group]
        items = [{"context": c, "continuations": [pairs[i].continuation for i in by_context[c]]} for c in group]

        def read(answer: Answer, indexes: list[list[int]] = indexes) -> Filled:
            return [
                (index, Scored(tuple(score["logprobs"]), tuple(score["greedy"])))
                for same, scores in zip(indexes, score_answer(dialect, answer), strict=True)
                for index, score in zip(same, scores, strict=True)
            ]

        yield Job(dialect.scores, score_body(dialect, items), read)


def _prompt_groups(pairs: Sequence[Pair], chosen: Sequence[int]) -> Iterator[list[int]]:
    """Indexes in groups whose prompts, each context with its continuation, go into one request."""
    yield from _groups({index: len(pairs[index].context) + len(pairs[index].continuation) for index in chosen})


def _start_len_jobs(pairs: Sequence[Pair]) -> Iterator[Job]:
    """SGLang's `/generate`: no token generated, log-probabilities of the prompt from the continuation on."""
    for group in _prompt_groups(pairs, range(len(pairs))):
        body = {
            "input_ids": [[*pairs[i].context, *pairs[i].continuation] for i in group],
            "sampling_params": {"max_new_tokens": 0, "temperature": 0},
            "return_logprob": True,
            "logprob_start_len": [len(pairs[i].context) - 1 for i in group],
            "top_logprobs_num": 1,
        }

        def read(answer: Answer, group: list[int] = group) -> Filled:
            filled = zip(group, answer, strict=True)
            return [(index, _from_start_len(pairs[index], response["meta_info"])) for index, response in filled]

        yield Job("/generate", body, read)


def _from_start_len(pair: Pair, meta: Mapping[str, Any]) -> Scored:
    """SGLang's form: [log-probability, token, text] for each token, nothing for the first; the most likely alike."""
    entries, best = meta["input_token_logprobs"][1:], meta["input_top_logprobs"][1:]
    if [token for _, token, *_ in entries] != list(pair.continuation):
        raise ScoringFailed("the server ignored logprob_start_len: its answer is not about the tokens asked for")
    greedy = [value >= top[0][0] for (value, *_), top in zip(entries, best, strict=True)]
    return Scored(tuple(float(value) for value, *_ in entries), tuple(greedy))


def _label_jobs(dialect: Dialect, pairs: Sequence[Pair]) -> Iterator[Job]:
    """One forward pass for all one-token continuations of a context: the next token's log-probabilities say it all."""
    single = [i for i, pair in enumerate(pairs) if len(pair.continuation) == 1] if dialect.label_logprobs else []
    for context, indexes in _by_context(pairs, single).items():
        body = {
            "model": dialect.model,
            "prompt": list(context),
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": 0,
            "logprob_token_ids": sorted({pairs[index].continuation[0] for index in indexes}),
            "return_tokens_as_token_ids": True,
        }

        def read(answer: Answer, indexes: list[int] = indexes) -> Filled:
            return [(index, _from_labels(pairs[index], answer["choices"][0])) for index in indexes]

        yield Job(dialect.completions, body, read)


def _from_labels(pair: Pair, choice: Mapping[str, Any]) -> Scored:
    """vLLM's form: the sampled (most likely) token and the asked ones, as {"token_id:7042": log-probability}."""
    logprobs = choice["logprobs"]
    name = f"token_id:{pair.continuation[0]}"
    if name not in logprobs["top_logprobs"][0]:
        raise ScoringFailed("the server ignored logprob_token_ids: a token that was asked for is not in its answer")
    return Scored((logprobs["top_logprobs"][0][name],), (logprobs["tokens"][0] == name,))


def _completion_jobs(dialect: Dialect, pairs: Sequence[Pair]) -> Iterator[Job]:
    """Completions with prompt log-probabilities; prompts of similar length share a request."""
    chosen = [i for i, pair in enumerate(pairs) if len(pair.continuation) > 1 or not dialect.label_logprobs]
    for group in _prompt_groups(pairs, chosen) if dialect.prompt_lists else ([index] for index in chosen):
        prompts = [[*pairs[index].context, *pairs[index].continuation] for index in group]
        body = {
            "model": dialect.model,
            "prompt": prompts if dialect.prompt_lists else prompts[0],
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
        }

        def read(answer: Answer, group: list[int] = group) -> Filled:
            choices = sorted(answer["choices"], key=lambda choice: choice["index"])
            filled = zip(group, choices, strict=True)
            return [(index, _from_prompt_logprobs(pairs[index], choice)) for index, choice in filled]

        yield Job(dialect.completions, body, read)


def _from_prompt_logprobs(pair: Pair, choice: Mapping[str, Any]) -> Scored:
    """vLLM's form: one entry per prompt token, None for the first, else {token id: {"logprob", "rank", …}}."""
    entries = choice.get("prompt_logprobs")
    if not entries or len(entries) != len(pair.context) + len(pair.continuation):
        raise ScoringFailed("the server ignored prompt_logprobs: its answer has no entry for each prompt token")
    last = entries[len(pair.context) :]
    chosen = [entry[str(token)] for entry, token in zip(last, pair.continuation, strict=True)]
    return Scored(tuple(entry["logprob"] for entry in chosen), tuple(entry["rank"] == 1 for entry in chosen))


def _echo_jobs(dialect: Dialect, pairs: Sequence[Pair]) -> Iterator[Job]:
    """OpenAI's old way, one prompt a request: it comes back with the log-probability of each of its tokens."""
    for index in sorted(range(len(pairs)), key=lambda i: len(pairs[i].context) + len(pairs[i].continuation)):
        prompt = [*pairs[index].context, *pairs[index].continuation]
        body = {
            "model": dialect.model,
            "prompt": prompt,
            "max_tokens": 1,
            "temperature": 0,
            "echo": True,
            "logprobs": 1,
            **dialect.request_fields,
        }

        def read(answer: Answer, index: int = index) -> Filled:
            return [(index, _from_echo(pairs[index], answer["choices"][0]))]

        yield Job(dialect.completions, body, read)


def _from_echo(pair: Pair, choice: Mapping[str, Any]) -> Scored:
    """OpenAI's form: a log-probability per token of the prompt (None for the first) and of what was generated."""
    recorded = choice.get("logprobs") or {}
    values, tops = recorded.get("token_logprobs") or [], recorded.get("top_logprobs") or []
    start, end = len(pair.context), len(pair.context) + len(pair.continuation)
    if len(values) not in (end, end + 1) or values[0] is not None or len(tops) != len(values):
        raise ScoringFailed("the server ignored echo: its answer has no log-probability for each prompt token")
    greedy = [value >= max(top.values()) for value, top in zip(values[start:end], tops[start:end], strict=True)]
    return Scored(tuple(float(value) for value in values[start:end]), tuple(greedy))


def _context_logits_jobs(dialect: Dialect, pairs: Sequence[Pair]) -> Iterator[Job]:
    """TensorRT-LLM's form, one prompt a request; the last token of a prompt needs no logits of its own."""
    prompts: dict[tuple[int, ...], list[int]] = {}
    for index, pair in enumerate(pairs):
        prompts.setdefault((*pair.context, *pair.continuation[:-1]), []).append(index)
    for prompt in sorted(prompts, key=len):
        body = {
            "model": dialect.model,
            "prompt": list(prompt),
            "max_tokens": 1,
            "temperature": 0,
            "return_context_logits": True,
        }

        def read(answer: Answer, same: list[int] = prompts[prompt]) -> Filled:
            logits = answer["choices"][0].get("context_logits")
            return [(index, _from_context_logits(pairs[index], logits)) for index in same]

        yield Job(dialect.completions, body, read, len(prompt))


def _from_context_logits(pair: Pair, logits: Sequence[Sequence[float]] | None) -> Scored:
    """Row i tells of token i + 1. Raises ScoringFailed where there is not one row for each token of the prompt."""
    expected = len(pair.context) + len(pair.continuation) - 1
    if not logits or len(logits) != expected:
        known = len(logits) if logits else 0
        raise ScoringFailed(
            f"the server ignored return_context_logits: it returned {known} of the prompt's {expected} tokens "
            "(with block reuse on, only those that it did not know)"
        )
    rows = np.asarray(logits[len(pair.context) - 1 :], dtype=np.float64)
    tokens = np.asarray(pair.continuation)
    values = rows[np.arange(len(tokens)), tokens]
    logprobs = values - logsumexp(rows, axis=1)
    return Scored(tuple(map(float, logprobs)), tuple(map(bool, values >= rows.max(axis=1))))
