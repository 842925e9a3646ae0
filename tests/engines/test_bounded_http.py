"""Requests to servers that answer for ever: each ends in time, and little of what came was kept."""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from engines.bounded_http import json_of, request
from engines.registry import engines_by_name
from engines.runtime.identities import server_identity
from engines.runtime.process import ProcessFailed
from engines.runtime.prometheus import read_gauges, read_statistics
from engines.runtime.server import attach
from engines.types import Attached, Endpoint, TimeLimits
from evals.api.post import ScoringFailed, ask, connect
from tests.support.fake_engine import fake_engine
from tests.support.hostile_server import DEEP_JSON, ENDLESS, TOO_LONG, Attack, hostile_server

ROOT = Path(__file__).resolve().parents[2]
SOCKET_BUFFERS = 16 * 2**20  # what a server gets rid of without anybody reading it


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


@pytest.mark.parametrize("attack", sorted(ENDLESS))
def test_an_answer_that_never_ends_is_given_up_by_its_deadline(attack: str) -> None:
    with (
        hostile_server(ENDLESS[attack]) as (url, _),
        _at_most(3),
        pytest.raises(httpx.ReadTimeout, match=r"^the answer had not ended after 0\.5 s$"),
    ):
        request("GET", url, {}, seconds=0.5)


@pytest.mark.parametrize(
    ("attack", "error"),
    [
        ("endless body", r"^the answer is too long: over 0\.5 MiB$"),
        ("endless line", r"^the answer is too long: over 0\.5 MiB$"),
        ("endless head", "."),
        ("gzip bomb", "^the answer is compressed, which was not asked for: gzip$"),
    ],
)
def test_of_an_answer_that_is_too_long_little_is_read(attack: str, error: str) -> None:
    with (
        hostile_server(TOO_LONG[attack]) as (url, sent),
        _at_most(3),
        pytest.raises(httpx.RemoteProtocolError, match=error),
    ):
        request("GET", url, {}, seconds=10, most_bytes=2**19)
    assert max(sent) < SOCKET_BUFFERS


def test_json_that_is_nested_too_deep_is_none() -> None:
    with hostile_server(DEEP_JSON) as (url, _), pytest.raises(ValueError, match="JSON that is nested too deep"):
        json_of(request("GET", url, {}, seconds=3))


@pytest.mark.parametrize("charset", ["utf-32", "undefined", "idna", "rot13"])
def test_the_charset_of_an_answer_is_not_the_server_s_to_choose(charset: str) -> None:
    head = f"HTTP/1.1 500 No\r\nContent-Type: text/plain; charset={charset}\r\nContent-Length: 4\r\n\r\n"
    with hostile_server(Attack(head.encode() + b"no\xff!")) as (url, _):
        assert request("GET", url, {}, seconds=3).text == "no\ufffd!"
        with pytest.raises(ScoringFailed, match="answered 500: no\ufffd!"):
            _ask(_endpoint(url, 10))


@pytest.mark.parametrize("attack", ["endless body", "gzip bomb"])
def test_what_servers_tell_of_themselves_is_bounded(attack: str) -> None:
    with hostile_server(TOO_LONG[attack]) as (url, sent), _at_most(3):
        for read in (read_gauges, read_statistics):
            with pytest.raises(httpx.HTTPError, match="the answer is"):
                read(url + "/metrics", {})
        assert server_identity(url, {}, url + "/metrics", "served") == ""
    assert max(sent) < SOCKET_BUFFERS + 8 * 2**20


def test_a_server_that_drips_its_health_is_not_attached_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.runtime.server.ATTACH_SECONDS", 0.5)
    engine = engines_by_name()["openai"]
    with (
        hostile_server(ENDLESS["dripped body"]) as (url, _),
        _at_most(3),
        pytest.raises(ProcessFailed, match=r"^no server answers at .*: ReadTimeout: the answer had not ended"),
    ):
        attach(engine, Attached(url, None, "served"), tmp_path, tmp_path / "log")


def _endpoint(url: str, seconds: float) -> Endpoint:
    limits = TimeLimits(scoring_seconds=seconds)
    return Endpoint(url, "key", None, Path("log"), fake_engine().dialect, 0.0, {}, limits=limits)


def _ask(endpoint: Endpoint) -> object:
    async def run() -> object:
        async with connect(endpoint) as client:
            return await ask(client, "/score", {})

    return asyncio.run(run())


@pytest.mark.parametrize("attack", sorted(ENDLESS))
def test_scoring_gives_up_an_answer_that_never_ends(attack: str) -> None:
    with (
        hostile_server(ENDLESS[attack]) as (url, _),
        _at_most(3),
        pytest.raises(ScoringFailed, match=r"gave no whole answer in 0\.5 s") as caught,
    ):
        _ask(_endpoint(url, 0.5))
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize("attack", sorted(TOO_LONG))
def test_scoring_keeps_no_more_than_it_asked_for(attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.api.post.ANSWER_BYTES", 2**19)
    monkeypatch.setattr("evals.api.post.FIRST_WAIT_SECONDS", 0)
    with (
        hostile_server(TOO_LONG[attack]) as (url, sent),
        _at_most(3),
        pytest.raises(ScoringFailed, match=r"failed 4 times, at last with RemoteProtocolError: "),
    ):
        _ask(_endpoint(url, 10))
    assert max(sent) < SOCKET_BUFFERS


def test_deep_json_is_no_answer_of_scoring() -> None:
    with hostile_server(DEEP_JSON) as (url, _), pytest.raises(ScoringFailed, match="answered with what is not JSON"):
        _ask(_endpoint(url, 10))


def test_nothing_else_asks_servers_by_httpx() -> None:
    """Prefect's own server is asked by Prefect's own client."""
    others = []
    for file in (file for package in ("engines", "evals") for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("httpx."):
                others.append(f"{file.relative_to(ROOT)}: {ast.unparse(node.func)}")
    made = [line for line in others if line.rpartition(".")[2] not in ("Timeout", "Response", "ReadTimeout")]
    assert made == [
        "engines/bounded_http.py: httpx.AsyncClient",
        "engines/bounded_http.py: httpx.RemoteProtocolError",
        "engines/bounded_http.py: httpx.RemoteProtocolError",
    ]
