"""Prompts for the load client: of exact token counts, equal for every cell of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from evals.record import LoadPoint


@dataclass(frozen=True)
class Ask:
    """One request: the ids of its prompt, and how many tokens its answer must have."""

    prompt: list[int]
    output_tokens: int


Conversation = list[Ask]  # each is sent when the one before was answered


@dataclass(frozen=True)
class Prompts:
    """What prompts are made of: the ids that may be drawn, those that a server puts before every prompt by itself, and
    the user's own prompts by the name of their file.
    """

    vocabulary: Sequence[int]
    before: Sequence[int] = ()
    own: Mapping[str, Sequence[Sequence[int]]] = field(default_factory=dict)

    def draw(self, load: LoadPoint, *, seed: int, repeat: int) -> list[Conversation]:
        """All requests of one repeat. The same seed and repeat give the same; every other repeat and load point gives
        others, so that none is served from a prefix cache, but for what the load says is shared.
        """
        if load.prompts:
            return self._own(load, seed=seed, repeat=repeat)
        generator = np.random.default_rng([seed, repeat, load.requests, load.prompt_tokens])
        system = _ids(np.random.default_rng([seed, load.shared_tokens]), self.vocabulary, load.shared_tokens)
        return [list(self._conversation(load, system, generator)) for _ in range(-(-load.requests // load.turns))]

    def _conversation(self, load: LoadPoint, system: Sequence[int], generator: np.random.Generator) -> Iterator[Ask]:
        """Each turn holds all before it: what was asked, and drawn ids of the answers' length in their place, since a
        server's own answer differs from cell to cell.
        """
        said = [*self.before, *system]
        for _ in range(load.turns):
            said += _ids(generator, self.vocabulary, load.prompt_tokens - load.shared_tokens - len(self.before))
            yield Ask(list(said), load.output_tokens)
            said += _ids(generator, self.vocabulary, load.output_tokens)

    def _own(self, load: LoadPoint, *, seed: int, repeat: int) -> list[Conversation]:
        """In a random order, each as often as the others, at most `prompt_tokens` of each."""
        given = self.own[load.prompts]
        order = np.random.default_rng([seed, repeat]).permutation(len(given))
        chosen = [given[order[number % len(given)]] for number in range(load.requests)]
        return [[Ask([*self.before, *one][: load.prompt_tokens], load.output_tokens)] for one in chosen]


def _ids(generator: np.random.Generator, vocabulary: Sequence[int], count: int) -> list[int]:
    """Drawn uniformly: speed does not depend on what a dense model reads; these texts mean nothing."""
    return [int(token) for token in generator.choice(np.asarray(vocabulary, dtype=np.int64), count)]
