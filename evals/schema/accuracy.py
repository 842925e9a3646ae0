"""What an accuracy measurement records: scores of tasks, perplexities, divergences."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """One leaf task. Per item: its key, the value of each metric, and log-likelihoods where there are any.

    `metrics` names the metrics in the order of an item's `values`; `item_keys` are lm-eval's hashes of document and
    prompt, by which two trials are joined. `ranks` are the items' places in the random order in which their task's
    items are drawn, counted over all leaves of the task; `drawn` is how many items of this leaf the plan asks for: more
    than there are here where an adaptive budget stopped. `clusters` names the passage that an item shares with others;
    it is empty where it has none. `empty_contexts` counts items that ask about nothing. `margins` are how far the best
    answer was ahead of the next one (`evals.accuracy.answer_margin`); empty where that is not known. `texts` are, of
    unquantized cells and of the items of least rank, the end of what is asked and every answer; empty for others.
    """

    task: str
    group: str
    num_fewshot: int
    metrics: tuple[str, ...]
    item_keys: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    loglikelihoods: tuple[tuple[float, ...], ...]
    ranks: tuple[int, ...] = ()
    drawn: int = 0
    clusters: tuple[str, ...] = ()
    empty_contexts: int = 0
    margins: tuple[float, ...] = ()
    texts: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Perplexity:
    """WikiText-2 in one named convention: of each window, the natural-log probabilities of the tokens it scores.

    `max_tokens` is where the text was cut; None for the whole.
    """

    convention: str
    text_sha256: str
    window_tokens: int
    stride_tokens: int
    tokens: tuple[tuple[float, ...], ...]
    max_tokens: int | None = None


@dataclass(frozen=True)
class Predictions:
    """What is predicted at the last tokens of some prompts, to be compared with another checkpoint's.

    Per prompt: `logprobs` of its last tokens (nats) and `greedy`, the text of a greedy answer. `top_tokens` is how many
    of the most likely tokens are reported at each position, −1 for the whole vocabulary, 0 for none; they are in
    `file`, beside the trial: `logprobs` of (positions, tokens), with `ids` of the same shape where it is not the whole.
    `repeat` is True for a second reading in another run, one prompt at a time: what differs there is noise.
    """

    text: str
    text_sha256: str
    logprobs: tuple[tuple[float, ...], ...]
    greedy: tuple[str, ...]
    top_tokens: int
    file: str | None
    repeat: bool = False
