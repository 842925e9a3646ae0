"""Distributions by every way of asking, and the predictions that is kept of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.runtime.server import serve
from engines.types import Endpoint, PromptLogprobs, Serving
from evals.accuracy.divergence import PredictionSpec, read_predictions
from evals.api.post import ScoringFailed
from evals.data.corpora import Prompts
from evals.scoring.top_logprobs import Distribution, tell
from evals.scoring.types import Pair
from tests.support.fake_engine import CPU, HERE, fake_engine
from tests.support.made_up_model import VOCABULARY, logprob, most_likely

PAIRS = [Pair((1, 2), (3, 4)), Pair((9,), (8, 7, 6)), Pair((5, 5), (1,)), Pair((4,), (2, 2)), Pair((7,), (1, 9))]
FULL_VOCABULARY: list[PromptLogprobs] = ["score", "context_logits"]
TOP: list[PromptLogprobs] = ["prompt_logprobs", "logprob_start_len", "forcing"]


@contextmanager
def _endpoint(tmp_path: Path, kind: PromptLogprobs, top: int, behaviour: str = "good") -> Iterator[Endpoint]:
    engine = fake_engine(behaviour, kind, top_tokens=top)
    with serve(engine, HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        yield endpoint


def _before(pair: Pair) -> list[int]:
    return [pair.context[-1], *pair.continuation[:-1]]


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("kind", FULL_VOCABULARY)
def test_the_whole_vocabulary_is_told_in_order(tmp_path: Path, kind: PromptLogprobs, alone: bool) -> None:
    done: list[int] = []
    with _endpoint(tmp_path, kind, -1) as endpoint:
        distributions = tell(endpoint, PAIRS, done.append, alone=alone)
    assert sum(done) == len(PAIRS)
    for pair, distribution in zip(PAIRS, distributions, strict=True):
        expected = [[logprob(before, token) for token in range(VOCABULARY)] for before in _before(pair)]
        assert distribution.ids is None
        np.testing.assert_allclose(distribution.logprobs, expected, atol=1e-6)
        _check_chosen(pair, distribution)


@pytest.mark.parametrize("kind", TOP)
def test_the_most_likely_tokens_are_told_first(tmp_path: Path, kind: PromptLogprobs) -> None:
    with _endpoint(tmp_path, kind, 6) as endpoint:
        distributions = tell(endpoint, PAIRS, lambda _: None, alone=False)
    for pair, distribution in zip(PAIRS, distributions, strict=True):
        assert distribution.ids is not None
        assert distribution.ids.shape == distribution.logprobs.shape == (len(pair.continuation), 6)
        for before, ids, values in zip(_before(pair), distribution.ids, distribution.logprobs, strict=True):
            assert values.tolist() == pytest.approx([logprob(before, int(token)) for token in ids], abs=1e-6)
            if kind != "forcing":  # the emulator's order there is that of the ids
                assert values.tolist() == pytest.approx([logprob(before, token) for token in most_likely(before, 6)])
        _check_chosen(pair, distribution)


def _check_chosen(pair: Pair, distribution: Distribution) -> None:
    expected = [logprob(before, token) for before, token in zip(_before(pair), pair.continuation, strict=True)]
    assert distribution.chosen == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "top", "words"),
    [
        ("score", -1, "no distributions in the server's answer"),
        ("context_logits", -1, "ignored return_context_logits: it does not report each"),
        ("prompt_logprobs", 6, "no distributions in the server's answer"),
        ("logprob_start_len", 6, "the server returned 0 of the 6 most likely tokens"),
        ("prompt_logprobs", 51, "the server returned 50 of the 51 most likely tokens"),
    ],
)
def test_a_server_that_does_not_tell_is_refused(tmp_path: Path, kind: PromptLogprobs, top: int, words: str) -> None:
    behaviour = "good" if top == 51 else "ignored"
    with _endpoint(tmp_path, kind, top, behaviour) as endpoint, pytest.raises(ScoringFailed, match=words):
        tell(endpoint, PAIRS, lambda _: None, alone=True)


def test_a_server_that_leaves_whole_unread_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "evals.scoring.top_logprobs.score_body", lambda dialect, items: {"items": [_without(i) for i in items]}
    )
    with _endpoint(tmp_path, "score", -1) as endpoint, pytest.raises(ScoringFailed, match="the server ignored `whole`"):
        tell(endpoint, PAIRS, lambda _: None, alone=False)


def _without(item: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in item.items() if name != "whole"}


PROMPTS = Prompts("wikitext2", "digest", ((1, 2, 3, 4, 5), (6, 7)))
SPEC = PredictionSpec(None, 2, 5, 3, 4, 0, repeat=True)


def _stage(name: str, total: int) -> object:
    return lambda count: None


def test_what_is_kept_of_a_reading(tmp_path: Path) -> None:
    file = tmp_path / "trial.0.npz"
    with _endpoint(tmp_path, "score", -1) as endpoint:
        predictions = read_predictions(endpoint, SPEC, PROMPTS, file, _stage)  # type: ignore[arg-type]
        again = read_predictions(endpoint, SPEC, PROMPTS, file, _stage, repeat=True)  # type: ignore[arg-type]
    assert [len(values) for values in predictions.logprobs] == [3, 1]  # a prompt of two tokens has one position
    assert (predictions.file, predictions.top_tokens, predictions.greedy) == (
        "trial.0.npz",
        -1,
        ("the capital is",) * 2,
    )
    with np.load(file, allow_pickle=False) as arrays:
        assert arrays["logprobs"].shape == (4, VOCABULARY)
        assert "ids" not in arrays
    assert replace(again, repeat=False) == predictions


def test_a_server_that_tells_of_the_text_alone_has_no_file(tmp_path: Path) -> None:
    file = tmp_path / "trial.0.npz"
    with _endpoint(tmp_path, "echo", 0) as endpoint:
        predictions = read_predictions(endpoint, SPEC, PROMPTS, file, _stage)  # type: ignore[arg-type]
    assert [len(values) for values in predictions.logprobs] == [3, 1]
    assert predictions.file is None
    assert not file.exists()


def test_a_server_without_log_probabilities_gives_its_answers_alone(tmp_path: Path) -> None:
    with _endpoint(tmp_path, "none", 0) as endpoint:
        predictions = read_predictions(endpoint, SPEC, PROMPTS, tmp_path / "x.npz", _stage)  # type: ignore[arg-type]
        silent = read_predictions(
            endpoint,
            replace(SPEC, answer_tokens=0),
            PROMPTS,
            tmp_path / "x.npz",
            _stage,  # type: ignore[arg-type]
        )
    assert (predictions.logprobs, predictions.greedy) == ((), ("the capital is",) * 2)
    assert silent.greedy == ()
