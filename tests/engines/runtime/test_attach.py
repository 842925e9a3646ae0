"""Servers that somebody else started: reached, asked what they can do, and never stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.registry import engines_by_name
from engines.runtime import identities
from engines.runtime.process import ProcessFailed
from engines.runtime.server import attach
from engines.types import Attached, ChunkTokens, PromptLogprobs, Serving
from evals.load.benchmark import measure_speed
from evals.load.prompts import Prompts
from evals.schema.load import LoadPoint
from evals.scoring.loglikelihood import score
from evals.scoring.types import Pair
from tests.support.emulator import Handler, emulate
from tests.support.fake_engine import CPU
from tests.support.made_up_model import logprob

OPENAI = engines_by_name()["openai"]


@pytest.mark.parametrize(
    ("behaviour", "by", "labels", "ignore_eos", "chunks"),
    [
        ("good", "prompt_logprobs", True, True, "usage"),
        ("plain", "echo", False, True, "one"),
        ("strict", "echo", False, False, "one"),
        ("timed", "prompt_logprobs", True, True, "timings"),
        ("ignored", "none", False, True, "usage"),
    ],
)
def test_a_server_is_asked_what_it_can_do(
    behaviour: str, by: PromptLogprobs, labels: bool, ignore_eos: bool, chunks: ChunkTokens
) -> None:
    with emulate(behaviour) as url:
        endpoint = _attach(url)
    assert endpoint.dialect.prompt_logprobs == by
    assert endpoint.dialect.label_logprobs == labels
    assert endpoint.dialect.ignore_eos == ignore_eos
    assert endpoint.dialect.chunk_tokens == chunks
    assert endpoint.facts["attached"] == url
    assert f"prompt log-probabilities: {by}" in str(endpoint.facts["can"])
    assert endpoint.pid is None


def test_a_server_is_identified_by_what_it_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with emulate("good") as url:
        assert _attach(url).facts["attached_server"] == ""
        models = {"data": [{"id": "served", "root": "/models/a", "created": 1}, {"id": "of another gateway's user"}]}
        monkeypatch.setattr(Handler, "about", {"/v1/models": models, "/version": {"version": "0.11"}, "/props": [1]})
        assert _attach(url).facts["attached_server"] == "id served, root /models/a, version 0.11"
        monkeypatch.setattr(identities, "read_gauges", lambda *_: {"process_start_time_seconds": 1.8e9})
        sglang = attach(engines_by_name()["sglang"], Attached(url, None, "served"), Path("checkpoint"), Path("log"))
        assert str(sglang.facts["attached_server"]).endswith("version 0.11, started 1800000000")


def test_a_server_that_takes_text_alone_is_loaded_and_not_scored() -> None:
    with emulate("text-only") as url:
        endpoint = _attach(url)
    assert (endpoint.dialect.prompts, endpoint.dialect.prompt_logprobs) == ("text", "none")
    assert "prompts of text alone" in str(endpoint.facts["can"])


def test_a_server_that_counts_nothing_is_refused() -> None:
    with emulate("uncounted") as url, pytest.raises(ProcessFailed, match="does not count the tokens of a text"):
        _attach(url)


def test_a_server_that_completes_nothing_is_refused() -> None:
    with (
        emulate("error") as url,
        pytest.raises(ProcessFailed, match=r"completes nothing \(500: the kernel is missing\)"),
    ):
        _attach(url)


@pytest.mark.parametrize(("behaviour", "knows"), [("good", True), ("strict", False)])
def test_no_penalty_is_asked_for_where_the_server_knows_it(behaviour: str, knows: bool) -> None:
    """Its starter may have left the sampling defaults of the model's file on."""
    with emulate(behaviour) as url:
        assert ("repetition_penalty" in _attach(url).dialect.request_fields) == knows


@pytest.mark.parametrize("behaviour", ["good", "plain", "strict", "timed", "one-prompt"])
def test_what_was_found_works(behaviour: str) -> None:
    pairs = [Pair((1, 2), (3, 5)), Pair((7,), (8,))]
    with emulate(behaviour) as url:
        endpoint = _attach(url)
        assert [scored.logprobs for scored in score(endpoint, pairs)] == [
            (logprob(2, 3), logprob(3, 5)),
            (logprob(7, 8),),
        ]
        load = LoadPoint(concurrency=2, requests=3, prompt_tokens=5, output_tokens=6)
        (speed,) = measure_speed(endpoint, [load], Prompts(range(10, 40)), repeats=2, seed=0)
    assert [request.output_tokens for request in speed.repeats[1]] == [6, 6, 6]


def test_its_key_comes_from_the_variable_that_the_plan_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with emulate("good") as url:
        monkeypatch.setenv("THEIR_KEY", "wrong")
        with pytest.raises(ProcessFailed, match=r"completes nothing \(401"):
            _attach(url)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ProcessFailed, match=r"no server answers at .*: ConnectError"):
        _attach("http://127.0.0.1:1")


def test_a_server_that_is_not_well() -> None:
    with emulate("unwell") as url, pytest.raises(ProcessFailed, match="/v1/models answered 503"):
        _attach(url)


def test_a_model_that_ollama_does_not_have() -> None:
    ollama = engines_by_name()["ollama"]
    with (
        emulate("no-model") as url,
        pytest.raises(ProcessFailed, match=r"has no model 'mine'.*make it by: ollama create mine"),
    ):
        attach(ollama, Attached(url, None, "mine"), Path("checkpoint"), Path("log"))
    with emulate("good") as url:
        endpoint = attach(ollama, Attached(url, None, "mine"), Path("checkpoint"), Path("log"))
    assert "OLLAMA_NUM_PARALLEL" in str(endpoint.facts["can"])


def test_metrics_that_are_elsewhere_are_done_without() -> None:
    with emulate("no-metrics") as url:
        endpoint = attach(engines_by_name()["sglang"], Attached(url, None, "theirs"), Path("checkpoint"), Path("log"))
    assert endpoint.metrics_url is None


def test_any_engine_can_be_attached_to() -> None:
    with emulate("good") as url:
        endpoint = attach(engines_by_name()["sglang"], Attached(url, None, "theirs"), Path("checkpoint"), Path("log"))
    assert endpoint.dialect == replace(engines_by_name()["sglang"].dialect, model="theirs")


@pytest.mark.parametrize("name", ["openai"])
def test_it_starts_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match=r"must run already.*give its address by `attach:`"):
        engines_by_name()[name].launch(Serving(tmp_path, CPU, 1, 64, 1, "key"))


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEIR_KEY", "key")


def _attach(url: str):  # type: ignore[no-untyped-def]
    return attach(OPENAI, Attached(url, "THEIR_KEY", "served"), Path("checkpoint"), Path("log"))


def test_of_what_a_server_says_of_itself_little_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in every part, trial and page."""
    models = {"data": [{"id": "served", "root": f"{number}" * 10_000} for number in range(10)]}
    monkeypatch.setattr(Handler, "about", {"/v1/models": models, "/version": {"version": "1" * 1_000_000}})
    with emulate("good") as url:
        assert len(str(_attach(url).facts["attached_server"])) == 1000
