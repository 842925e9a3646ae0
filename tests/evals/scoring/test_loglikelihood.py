from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines.runtime.server import serve
from engines.types import Endpoint, PromptLogprobs, Serving
from evals.api.post import ScoringFailed
from evals.scoring.loglikelihood import score
from evals.scoring.requests import Job
from evals.scoring.types import Pair, Scored
from tests.support.fake_engine import CPU, HERE, fake_engine
from tests.support.made_up_model import best, logprob


@contextmanager
def _endpoint(
    tmp_path: Path, kind: PromptLogprobs, behaviour: str = "good", *, labels: bool = False
) -> Iterator[Endpoint]:
    engine = fake_engine(behaviour, kind, label_logprobs=labels)
    with serve(engine, HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        yield endpoint


def _expected(pair: Pair) -> Scored:
    line = [pair.context[-1], *pair.continuation]
    steps = list(zip(line, line[1:], strict=False))
    greedy = tuple(best(before, [token]) == token for before, token in steps)
    return Scored(tuple(logprob(before, token) for before, token in steps), greedy)


def _pairs() -> list[Pair]:
    shared = [Pair((1, 2, 3), tuple(range(n + 1, n + 4))) for n in range(4)]
    return [*shared, Pair((9,), (8,)), Pair(tuple(range(700)), (1, 2)), Pair(tuple(range(700)), (3,)), *shared[:2]]


@pytest.mark.parametrize("kind", ["score", "prompt_logprobs", "logprob_start_len", "forcing", "context_logits"])
def test_scores_come_back_in_order(tmp_path: Path, kind: PromptLogprobs) -> None:
    done: list[int] = []
    with _endpoint(tmp_path, kind) as endpoint:
        for scored, pair in zip(
            score(endpoint, _pairs(), lambda filled: done.extend(index for index, _ in filled)), _pairs(), strict=True
        ):
            assert scored.logprobs == pytest.approx(_expected(pair).logprobs, abs=1e-12)
            assert scored.greedy == _expected(pair).greedy
    assert sorted(done) == list(range(len(_pairs())))


def test_one_letter_answers_by_labels_are_the_same(tmp_path: Path) -> None:
    letters = [Pair((5, context), (letter,)) for context in range(6) for letter in (1, 2, 3, 4)]
    with _endpoint(tmp_path, "prompt_logprobs", labels=True) as endpoint:
        mixed = [*letters, *_pairs()]
        assert [scored.logprobs for scored in score(endpoint, mixed)] == [_expected(pair).logprobs for pair in mixed]


def test_labels_that_are_ignored_are_caught(tmp_path: Path) -> None:
    with (
        _endpoint(tmp_path, "prompt_logprobs", "ignored", labels=True) as endpoint,
        pytest.raises(ScoringFailed, match="ignored logprob_token_ids"),
    ):
        score(endpoint, [Pair((1,), (2,))])


def test_no_pairs_no_requests(tmp_path: Path) -> None:
    with _endpoint(tmp_path, "score") as endpoint:
        assert score(endpoint, []) == []


def test_a_server_without_logprobs_says_so(tmp_path: Path) -> None:
    with _endpoint(tmp_path, "none") as endpoint, pytest.raises(ScoringFailed, match="gives no log-probabilities"):
        score(endpoint, _pairs())


def test_a_server_that_ignores_the_field_is_caught(tmp_path: Path) -> None:
    with (
        _endpoint(tmp_path, "prompt_logprobs", "ignored") as endpoint,
        pytest.raises(ScoringFailed, match="ignored prompt_logprobs"),
    ):
        score(endpoint, _pairs())


def test_an_error_of_the_server_is_passed_on(tmp_path: Path) -> None:
    with (
        _endpoint(tmp_path, "score", "error") as endpoint,
        pytest.raises(ScoringFailed, match="answered 500: the kernel is missing"),
    ):
        score(endpoint, _pairs())


def test_pairs_without_an_answer_are_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import evals.scoring.loglikelihood

    nothing = Job("/score", {"items": []}, lambda answer: [])
    monkeypatch.setattr(evals.scoring.loglikelihood, "jobs_for", lambda dialect, pairs: [nothing])
    with _endpoint(tmp_path, "score") as endpoint, pytest.raises(ScoringFailed, match="left 1 of 1 pairs unanswered"):
        score(endpoint, [Pair((1,), (2,))])
