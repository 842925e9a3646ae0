"""The load client's HTTP against small servers of every kind of answer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from evals.load.http_client import Answer, Client
from tests.support.hostile_server import ENDLESS, TOO_LONG, Attack, hostile_server

Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
MOST_BYTES = 2**20
CUT = "the server closed the connection in the middle of its answer"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def _read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head, await reader.readexactly(size)


def _reply(answer: bytes, *, close: bool = False) -> Respond:
    """Read a request, write these bytes, and close the connection or keep it."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        writer.write(answer)
        await writer.drain()
        if close:
            writer.close()

    return respond


def _exchange(
    respond: Respond, times: int = 1, timeout_seconds: float = 5.0, tls: ssl.SSLContext | None = None
) -> tuple[list[Answer], int]:
    """Answers to `times` requests one after the other, and how many connections they took."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while not writer.is_closing():
                await respond(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> list[Answer]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/base/"
        async with Client(url, {"Authorization": "Bearer k"}, timeout_seconds, MOST_BYTES) as client:
            answers = [await client.post(client.request("/path", b"{}")) for _ in range(times)]
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)  # so that nothing of them is left for the garbage collector
        return answers

    return asyncio.run(run()), len(writers)


def test_a_chunked_answer_is_kept_read_by_read_and_the_connection_used_again() -> None:
    seen: list[bytes] = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, body = await _read_request(reader)
        seen.extend([head, body])
        writer.write(CHUNKED + b"3\r\none\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")

    answers, connections = _exchange(respond, times=3)
    assert connections == 1
    for answer in answers:
        assert (answer.status, answer.error, answer.body) == (200, None, b"onetwo")
        (first, piece), (second, two) = answer.reads
        assert (piece, two) == (b"one", b"two")
        assert second > first
    assert seen[0].startswith(b"POST /base/path HTTP/1.1\r\n")
    assert b"Authorization: Bearer k\r\n" in seen[0]
    assert seen[1] == b"{}"


def test_a_server_that_closes_gets_a_new_connection() -> None:
    closing = _reply(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", close=True)
    answers, connections = _exchange(closing, times=2)
    assert [(answer.body, answer.error) for answer in answers] == [(b"ok", None)] * 2
    assert connections == 2


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced() -> None:
    """The server says nothing of closing, and closes when the next request is on its way."""
    keep = _reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await keep(reader, writer)
        await reader.read(1)
        writer.close()

    answers, connections = _exchange(respond, times=3)
    assert [(answer.body, answer.error) for answer in answers] == [(b"ok", None)] * 3
    assert connections == 3


def test_a_server_that_does_not_keep_what_it_says_is_asked_over_new_connections() -> None:
    """It reads what comes on a kept one, and closes: only the first request that is sent so goes out twice."""
    asked: list[bytes] = []
    keep = _reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await keep(reader, writer)
        asked.append(await reader.read(1))
        writer.close()

    answers, connections = _exchange(respond, times=5)
    assert [answer.body for answer in answers] == [b"ok"] * 5
    assert connections == 5
    assert asked.count(b"P") == 1


def test_a_server_that_always_closes_is_an_error() -> None:
    ((answer,), connections) = _exchange(_reply(b"", close=True))
    assert answer.error == "the server closed the connection before it answered"
    assert connections == 1


def test_an_answer_may_end_with_the_connection() -> None:
    ((answer,), _) = _exchange(_reply(b"HTTP/1.1 200 OK\r\n\r\nall of it", close=True))
    assert (answer.body, answer.error) == (b"all of it", None)


def test_an_answer_that_breaks_off_is_an_error() -> None:
    ((answer,), _) = _exchange(_reply(CHUNKED + b"3\r\none\r\n", close=True))
    assert (answer.status, answer.body, answer.error) == (200, b"one", CUT)


def test_what_is_not_http_is_an_error() -> None:
    ((answer,), _) = _exchange(_reply(b"220 mail\r\n\r\n"))
    assert answer.error is not None
    assert answer.error.startswith("the answer is not HTTP: ")


@pytest.mark.parametrize("first", [b"100 Continue\r\n", b"103 Early Hints\r\nLink: </x>\r\n"])
def test_what_is_said_before_an_answer_is_none(first: bytes) -> None:
    answer_follows = b"HTTP/1.1 " + first + b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    answers, connections = _exchange(_reply(answer_follows), times=2)
    assert [(answer.status, answer.body, answer.error) for answer in answers] == [(200, b"ok", None)] * 2
    assert connections == 1


def test_a_server_that_changes_to_another_protocol_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello"
    ((answer,), _) = _exchange(_reply(upgrade))
    assert (answer.kind, answer.error) == (
        "garbage-output",
        "the answer is not HTTP: the server changes to another protocol, which was not asked for",
    )
    assert not caplog.records  # asyncio logs the traceback of what a protocol raises


def test_errors_of_the_server_keep_their_status_and_text() -> None:
    ((answer,), _) = _exchange(_reply(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nlate"))
    assert (answer.status, answer.body, answer.error) == (503, b"late", None)


def _certificate(folder: Path) -> Path:
    """A certificate of 127.0.0.1 that vouches for itself, with its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
    signed = made.add_extension(here, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "certificate.pem").write_bytes(private + signed.public_bytes(pem))
    return folder / "certificate.pem"


def test_servers_with_a_certificate_that_is_trusted_are_asked_by_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    reply = _reply(CHUNKED + b"3\r\none\r\n0\r\n\r\n")
    ((strange,), _) = _exchange(reply, tls=context)
    assert strange.error is not None
    assert strange.error.startswith("SSLCertVerificationError")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    answers, connections = _exchange(reply, times=2, tls=context)
    assert [(answer.status, answer.body, answer.error) for answer in answers] == [(200, b"one", None)] * 2
    assert connections == 1


def test_silence_is_given_up() -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _read_request(reader)
        await reader.read()

    ((answer,), _) = _exchange(respond, timeout_seconds=0.1)
    assert (answer.error, answer.kind) == ("no answer for 0.1 s (`time_limits: request_seconds`)", "timeout")


def test_nobody_there_is_an_error() -> None:
    async def run() -> Answer:
        async with Client("http://127.0.0.1:9", {}, 5.0, MOST_BYTES) as client:
            return await client.post(client.request("/", b""))

    answer = asyncio.run(run())
    assert answer.error is not None
    assert answer.error.startswith("ConnectionRefusedError")


@pytest.mark.parametrize(
    ("url", "host"), [("http://a:81/v", b"Host: a:81\r\n"), ("https://b.example", b"Host: b.example\r\n")]
)
def test_requests_name_their_host(url: str, host: bytes) -> None:
    assert host in Client(url, {}, 1.0, MOST_BYTES).request("/p", b"x")


@pytest.mark.parametrize("attack", ["endless body", "endless line", "endless head"])
def test_of_an_answer_that_never_ends_little_is_kept(attack: str) -> None:
    with hostile_server(TOO_LONG[attack]) as (url, sent):

        async def run() -> Answer:
            async with Client(url, {}, 3.0, MOST_BYTES) as client:
                return await client.post(client.request("/", b"{}"))

        answer = asyncio.run(run())
    assert (answer.error, answer.kind) == ("the answer is too long: over 1 MiB", "garbage-output")
    assert len(answer.body) <= MOST_BYTES
    assert max(sent) < 16 * MOST_BYTES


@pytest.mark.parametrize("attack", sorted(ENDLESS))
def test_an_answer_that_is_dripped_is_given_up(attack: str) -> None:
    """So is one that is always yet to come, by time or by bytes."""
    with hostile_server(ENDLESS[attack]) as (url, _):

        async def run() -> Answer:
            async with Client(url, {}, 0.5, MOST_BYTES) as client:
                return await client.post(client.request("/", b"{}"))

        answer = asyncio.run(run())
    assert answer.status in (0, 200)
    assert answer.error in (
        "no answer for 0.5 s (`time_limits: request_seconds`)",
        "the answer is too long: over 1 MiB",
    )


def test_what_comes_behind_an_answer_closes_its_connection() -> None:
    """Else it would be kept as long as the answer before it, while the connection is not used."""
    behind = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with hostile_server(Attack(behind, CHUNKED + b"5\r\nflood\r\n" * 10_000, wait_seconds=0.1)) as (url, sent):

        async def run() -> Answer:
            async with Client(url, {}, 3.0, MOST_BYTES) as client:
                answer = await client.post(client.request("/", b"{}"))
                await asyncio.sleep(1)
                assert len(sent) == 1
                return answer

        answer = asyncio.run(run())
    assert (answer.status, answer.error, answer.body) == (200, None, b"ok")
