"""Prompts for the load client: of exact token counts, equal for every cell of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evals.load.traces import BLOCK_TOKENS, TraceRequest
from evals.schema.load import LoadPoint

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ask:
    """One request: the ids of its prompt, and how many tokens its answer must have."""

    prompt: list[int]
    output_tokens: int


Conversation = list[Ask]  # each is sent when the one before was answered


@dataclass(frozen=True)
class Prompts:
    """What prompts are made of: the ids that may be drawn, those that a server puts before every prompt by itself, and
    the user's own prompts and recorded traces by the names of their files.
    """

    vocabulary: Sequence[int]
    before: Sequence[int] = ()
    own: Mapping[str, Sequence[Sequence[int]]] = field(default_factory=dict)
    traces: Mapping[str, Sequence[TraceRequest]] = field(default_factory=dict)

    def draw(self, load: LoadPoint, *, seed: int, repeat: int) -> list[Conversation]:
        """All requests of one repeat. The same seed and repeat give the same; every other repeat and load point gives
        others, so that none is served from a prefix cache, but for what the load says is shared.
        """
        if load.prompts:
            # in a random order, each as often as the others, at most `prompt_tokens` of each
            given = self.own[load.prompts]
            order = np.random.default_rng([seed, repeat]).permutation(len(given))
            chosen = [given[order[number % len(given)]] for number in range(load.requests)]
            return [[Ask([*self.before, *prompt][: load.prompt_tokens], load.output_tokens)] for prompt in chosen]
        if load.trace:
            return self._traced(load, seed=seed, repeat=repeat)
        generator = np.random.default_rng([seed, repeat, load.requests, load.prompt_tokens])
        system = _ids(
            np.random.default_rng([seed, load.shared_prefix_tokens]), self.vocabulary, load.shared_prefix_tokens
        )
        return [list(self._conversation(load, system, generator)) for _ in range(-(-load.requests // load.turns))]

    def _conversation(self, load: LoadPoint, system: Sequence[int], generator: np.random.Generator) -> Iterator[Ask]:
        """Each turn holds all before it: what was asked, and drawn ids of the answers' length in their place, since a
        server's own answer differs from cell to cell.
        """
        history = [*self.before, *system]
        for turn in range(load.turns):
            answer = load.output_tokens if turn else 0
            own = load.prompt_tokens - load.shared_prefix_tokens - len(self.before)
            history += _ids(generator, self.vocabulary, answer + own)
            yield Ask(list(history), load.output_tokens)

    def _traced(self, load: LoadPoint, *, seed: int, repeat: int) -> list[Conversation]:
        """A block's tokens are drawn from its id, so that prompts share what they shared when they were recorded, in
        this repeat alone; those without blocks share nothing.
        """
        entropy, vocabulary = [seed, repeat, load.requests, load.prompt_tokens], np.asarray(self.vocabulary)
        trace, generator = self.traces[load.trace][: load.requests], np.random.default_rng(entropy)
        drawn = {
            block: _ids(np.random.default_rng([*entropy, 1 + block]), vocabulary, BLOCK_TOKENS)
            for block in dict.fromkeys(block for request in trace for block in request.blocks)
        }
        conversations: list[Conversation] = []
        for request in trace:
            ids = [token for block in request.blocks for token in drawn[block]]
            ids = ids or _ids(generator, vocabulary, request.prompt_tokens)
            conversations.append([Ask([*self.before, *ids][: request.prompt_tokens], request.output_tokens)])
        return conversations


def _ids(generator: np.random.Generator, vocabulary: Sequence[int] | Ids, count: int) -> list[int]:
    """Drawn uniformly: speed does not depend on what a dense model reads; these texts mean nothing."""
    drawn: list[int] = generator.choice(np.asarray(vocabulary, dtype=np.int64), count).tolist()
    return drawn
