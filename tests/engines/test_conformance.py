"""Every engine's dialect against the same emulator: one suite, an engine joins it by being registered."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import httpx
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from engines.registry import engines_by_name
from engines.types import LIMITS, WHOLE_VOCABULARY, Dialect, Endpoint, TimeLimits
from evals.accuracy.gates import golden_prompt
from evals.api.post import ScoringFailed
from evals.load.benchmark import LoadFailed, measure_speed
from evals.load.prompts import Prompts
from evals.schema.load import LoadPoint, Request
from evals.scoring.loglikelihood import score
from evals.scoring.top_logprobs import tell
from evals.scoring.types import Pair
from quant.registry import methods
from quant.types import Range
from tests.support.emulator import emulate
from tests.support.made_up_model import HALF, VOCABULARY, logprob

LOAD = LoadPoint(concurrency=2, requests=3, prompt_tokens=5, output_tokens=6)
PAIRS = [Pair((1, 2), (3, HALF, 5)), Pair((1, 2), (3, 9)), Pair((7,), (8,)), Pair((7,), (9,))]
WORDS: list[Path] = []
DIALECTS = {name: engine.dialect for name, engine in engines_by_name().items()}


@pytest.fixture(params=DIALECTS.values(), ids=DIALECTS.keys())
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return request.param  # type: ignore[no-any-return]


def dialects(concerned: Callable[[Dialect], bool]) -> pytest.MarkDecorator:
    """The test for each dialect that it concerns."""
    chosen = {name: dialect for name, dialect in DIALECTS.items() if concerned(dialect)}
    return pytest.mark.parametrize("dialect", chosen.values(), ids=chosen.keys())


@pytest.fixture(
    params=[variant for variant in DIALECTS.values() if variant.prompt_logprobs != "none"],
    ids=[n for n, variant in DIALECTS.items() if variant.prompt_logprobs != "none"],
)
def scoring(request: pytest.FixtureRequest) -> Dialect:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module", autouse=True)
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer whose text "w7 w9" are the tokens 7 and 9, for servers that take text alone."""
    tokenizer = Tokenizer(WordLevel({f"w{index}": index for index in range(100)}, unk_token="w0"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    folder = tmp_path_factory.mktemp("words")
    tokenizer.save(str(folder / "tokenizer.json"))
    WORDS.append(folder)
    return folder


def endpoint(url: str, dialect: Dialect, key: str = "key", limits: TimeLimits = LIMITS) -> Endpoint:
    return Endpoint(url, key, 0, Path("log"), dialect, 0.0, {}, tokenizer=WORDS[-1], limits=limits)


def load(behaviour: str, dialect: Dialect, key: str = "key", limits: TimeLimits = LIMITS) -> list[Request]:
    """The requests of one repeat against an emulator that behaves so."""
    with emulate(behaviour) as url:
        measured = measure_speed(endpoint(url, dialect, key, limits), [LOAD], Prompts(range(10, 40)), repeats=1, seed=0)
    return list(measured[0].repeats[0])


def scores(behaviour: str, dialect: Dialect, limits: TimeLimits = LIMITS) -> list[tuple[float, ...]]:
    with emulate(behaviour) as url:
        return [scored.logprobs for scored in score(endpoint(url, dialect, limits=limits), PAIRS)]


def expected() -> list[Any]:
    lines = [[pair.context[-1], *pair.continuation] for pair in PAIRS]
    return [pytest.approx([logprob(a, b) for a, b in zip(line, line[1:], strict=False)], abs=1e-12) for line in lines]


@pytest.mark.parametrize("behaviour", ["good", "cut-1", "cut-2", "cut-3", "cut-7", "cut-1000", "late-usage"])
def test_a_stream_is_read_wherever_it_is_cut(dialect: Dialect, behaviour: str) -> None:
    """The texts hold characters of several bytes and U+2028, which is no line end here."""
    for request in load(behaviour, dialect):
        assert (request.prompt_tokens, request.output_tokens) == (5, 6)
        assert [tokens for _, tokens in request.chunks] == [1, 2, 3, 4, 5, 6]


@dialects(lambda dialect: dialect.chunk_tokens == "one")
def test_a_character_of_two_tokens_is_no_result_where_chunks_are_counted(dialect: Dialect) -> None:
    with pytest.raises(LoadFailed, match="does not report how many tokens a chunk holds"):
        load("split", dialect)


@dialects(lambda dialect: dialect.chunk_tokens != "one")
def test_a_character_of_two_tokens_counts_as_two(dialect: Dialect) -> None:
    for request in load("split", dialect):
        assert [tokens for _, tokens in request.chunks] == [2, 4, 6]


@dialects(lambda dialect: dialect.chunk_tokens != "usage")  # whose usage comes with every chunk
def test_a_stream_without_usage_is_no_result(dialect: Dialect) -> None:
    words = "counted 0 prompt and 4 output tokens|without its end marker|not of the form"
    with pytest.raises(LoadFailed, match=words):
        load("no-usage", dialect)


@pytest.mark.parametrize(
    ("behaviour", "kinds", "words"),
    [
        ("error-in-stream", {"out-of-memory"}, "out of memory in step 3"),
        (
            "drop-in-stream",
            {"garbage-output", "request-failed"},
            "ended without its end marker|closed the connection in the middle of its answer",
        ),
        (
            "no-end",
            {"garbage-output", "request-failed"},
            "ended without its end marker|closed the connection in the middle of its answer",
        ),
        ("drop", {"request-failed"}, "the server closed the connection before it answered"),
        ("error", {"request-failed"}, "HTTP 500: the kernel is missing"),
        ("busy", {"request-failed"}, "HTTP 503: too many requests"),
        ("busy-later", {"request-failed"}, "HTTP 429: too many requests"),
        ("wrong-counts", {"wrong-token-counts"}, "counted 5 prompt and 3 output tokens where 5 and 4 were asked for"),
    ],
)
def test_a_failed_stream_is_no_result(dialect: Dialect, behaviour: str, kinds: set[str], words: str) -> None:
    with pytest.raises(LoadFailed, match=words) as caught:
        load(behaviour, dialect)
    assert caught.value.kind in kinds
    ended = "it cannot ignore the end of a text (ignore_eos). Ask for shorter answers"
    assert (ended in str(caught.value)) == (behaviour == "wrong-counts" and not dialect.ignore_eos)


def test_an_event_of_another_form_is_no_result(dialect: Dialect) -> None:
    with pytest.raises(LoadFailed, match="an event is not of the form that was expected"):
        load("strange", dialect)


def test_a_load_that_hangs_ends(dialect: Dialect) -> None:
    with pytest.raises(LoadFailed, match=r"no answer for 0\.2 s \(`time_limits: request_seconds`\)"):
        load("hang", dialect, limits=TimeLimits(request_seconds=0.2))


def test_the_prefix_cache_is_emptied_before_each_repeat(dialect: Dialect) -> None:
    with emulate("good") as url:
        measure_speed(endpoint(url, dialect), [LOAD], Prompts(range(10, 40)), repeats=2, seed=0)
        flushes = int(httpx.get(url + "/flushes").text)
    assert flushes == (3 if dialect.flush else 0)  # and before the warm-up


@dialects(lambda dialect: bool(dialect.flush))
def test_a_prefix_cache_that_stays_full_is_no_result(dialect: Dialect) -> None:
    with pytest.raises(LoadFailed, match="the prefix cache could not be emptied: HTTP 500"):
        load("no-flush", dialect)
    with pytest.raises(LoadFailed, match="the prefix cache could not be emptied: ConnectError"):
        measure_speed(endpoint("http://127.0.0.1:1", dialect), [LOAD], Prompts(range(10, 40)), repeats=1, seed=0)


def test_a_wrong_key_is_told(dialect: Dialect) -> None:
    with pytest.raises(LoadFailed, match="HTTP 401"):
        load("good", dialect, key="another")


@pytest.mark.parametrize("behaviour", ["good", "busy", "drop-first"])
def test_scores_are_those_of_the_model(scoring: Dialect, behaviour: str) -> None:
    """A server that is busy or drops a connection is asked again."""
    assert scores(behaviour, scoring) == expected()


def test_retry_after_is_waited_for(scoring: Dialect) -> None:
    started = time.monotonic()
    assert scores("busy-later", scoring) == expected()
    assert time.monotonic() - started >= 0.4


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("always-busy", "failed 4 times, at last with 503: too many requests"),
        ("drop", "failed 4 times, at last with RemoteProtocolError"),
        ("error", "answered 500: the kernel is missing"),
        ("ignored", "ignored|without what was asked for|--enable-prefill-logprobs"),
    ],
)
def test_scores_that_did_not_come_are_no_result(
    scoring: Dialect, behaviour: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evals.api.post.FIRST_WAIT_SECONDS", 0.01)
    with pytest.raises(ScoringFailed, match=words):
        scores(behaviour, scoring)


def test_scoring_that_hangs_ends(scoring: Dialect) -> None:
    with pytest.raises(ScoringFailed, match=r"gave no whole answer in 0\.2 s \(`time_limits: scoring_seconds`\)"):
        scores("hang", scoring, limits=TimeLimits(scoring_seconds=0.2))


@pytest.mark.parametrize(("behaviour", "passes"), [("good", True), ("shifted", False)])
def test_the_golden_prompt_catches_a_shift_by_one(scoring: Dialect, behaviour: str, passes: bool) -> None:
    ids = [1, 2, 3, 4, 5]
    values = [logprob(a, b) for a, b in zip(ids, ids[1:], strict=False)]
    with emulate(behaviour) as url:
        long_items = [
            {"context": ids[:end], "continuation": ids[end:], "logprobs": values[end - 1 :]} for end in (2, 3)
        ]
        reference = {"golden_ids": ids, "golden_logprobs": values, "long_items": long_items, "rounding_nats": {}}
        assert golden_prompt(endpoint(url, scoring), reference, "float32").passed == passes


@pytest.mark.parametrize(
    "name", sorted(name for name, variant in DIALECTS.items() if variant.prompt_logprobs == "none")
)
def test_a_server_without_log_probabilities_says_so(name: str) -> None:
    with pytest.raises(ScoringFailed, match="gives no log-probabilities of a prompt"):
        scores("good", DIALECTS[name])


@dialects(lambda dialect: dialect.prompt_logprobs != "none" and dialect.prompts == "text")
def test_a_text_that_gives_other_tokens_is_no_result(dialect: Dialect) -> None:
    with emulate("good") as url, pytest.raises(ScoringFailed, match="no text gives exactly these 3 token ids"):
        score(endpoint(url, dialect), [Pair((1, 999), (3,))])


def test_the_emulator_is_no_engine() -> None:
    with emulate("good") as url:
        assert httpx.get(url + "/health").text == "ok"
    assert "fake" not in DIALECTS


TELLING = {name: variant for name, variant in DIALECTS.items() if variant.top_tokens}
FEWER = 6  # the emulator's vocabulary is smaller than what engines are asked for


@pytest.mark.parametrize("telling", TELLING.values(), ids=TELLING.keys())
def test_distributions_are_told_as_the_dialect_says(telling: Dialect) -> None:
    """A token that ends inside a character too: a server that keeps it back is asked in another way."""
    fewer = replace(telling, top_tokens=min(telling.top_tokens, FEWER))
    with emulate("good") as url:
        distributions = tell(endpoint(url, fewer), PAIRS, lambda _: None, alone=False)
    for pair, distribution in zip(PAIRS, distributions, strict=True):
        before = [pair.context[-1], *pair.continuation[:-1]]
        width = VOCABULARY if telling.top_tokens == WHOLE_VOCABULARY else FEWER
        assert distribution.logprobs.shape == (len(pair.continuation), width)
        for position, row in enumerate(distribution.logprobs):
            ids = range(VOCABULARY) if distribution.ids is None else distribution.ids[position]
            assert row.tolist() == pytest.approx([logprob(before[position], int(token)) for token in ids], abs=1e-6)


@pytest.mark.parametrize("telling", TELLING.values(), ids=TELLING.keys())
def test_distributions_that_are_not_told_are_no_result(telling: Dialect) -> None:
    words = "no distributions in the server's answer|the server returned 0 of|ignored"
    with emulate("ignored") as url, pytest.raises(ScoringFailed, match=words):
        tell(endpoint(url, telling), PAIRS, lambda _: None, alone=False)


def _numbers_without_range(annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return False
    if get_origin(annotation) is Annotated:
        base, *extra = get_args(annotation)
        return not any(isinstance(limit, Range) for limit in extra) and _numbers_without_range(base)
    return annotation in (int, float) or any(map(_numbers_without_range, get_args(annotation)))


def test_every_number_that_a_plan_may_give_has_a_range() -> None:
    """`max_batch: -5` was a plan that was found good, and no server started with it."""
    declared = [(engine.name, engine.options) for engine in engines_by_name().values()]
    declared += [(method.name, method.parameters) for method in methods().values()]
    free = [f"{name}.{p.name}" for name, given in declared for p in given if _numbers_without_range(p.annotation)]
    assert free == []
