"""What `bitfrontier doctor` says of the Prefect server that is configured."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli.doctor.installation import Finding, _prefect


@contextmanager
def _server(status: int, origins: str | None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            if origins:
                self.send_header("Access-Control-Allow-Origin", origins)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/api"
    server.shutdown()
    server.server_close()


def _finding(url: str | None) -> Finding:
    with temporary_settings({PREFECT_API_URL: url}):
        return _prefect()


@pytest.mark.parametrize(
    ("status", "origins", "state", "detail"),
    [
        (200, "*", "unsafe", "answers without a login and accepts requests from every web page (CORS)"),
        (200, None, "unsafe", "answers without a login"),
        (401, "*", "unsafe", "accepts requests from every web page (CORS)"),
        (404, None, "broken", "is not a Prefect API: HTTP 404"),
        (401, "http://127.0.0.1:4200", "ok", "requires a login and rejects pages of other sites"),
    ],
)
def test_a_server_that_anybody_may_use_is_unsafe(status: int, origins: str | None, state: str, detail: str) -> None:
    with _server(status, origins) as url:
        finding = _finding(url)
    assert (finding.state, finding.detail) == (state, f"{url} {detail}")
    assert ("PREFECT_SERVER_API_AUTH_STRING" in finding.remedy) == (state == "unsafe")


@pytest.mark.usefixtures("prefect")
def test_a_real_server_with_a_login_is_told_from_one_without() -> None:
    """Ours has a login, and Prefect's own default of CORS."""
    assert _prefect().detail.endswith("/api accepts requests from every web page (CORS)")


def test_a_server_that_is_not_there() -> None:
    finding = _finding("http://me:secret@127.0.0.1:9/api")
    assert (finding.state, finding.detail) == ("broken", "http://127.0.0.1:9/api does not answer: ConnectError")


def test_without_a_server_nothing_is_asked() -> None:
    assert _finding(None).detail == "none configured: each sweep starts its own, with a password"
