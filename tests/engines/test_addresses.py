from __future__ import annotations

import ast
from pathlib import Path

import pytest

from engines.addresses import trusts_environment, without_credentials
from engines.runtime.prometheus import read_gauges
from engines.runtime.server import serve
from engines.types import Serving
from tests.support.fake_engine import CPU, HERE, fake_engine

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = {"get", "post", "head", "put", "request", "stream", "Client", "AsyncClient"}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:80/x", "http://127.8.8.8", "http://localhost:1", "http://[::1]:8", "http://a.localhost"]
)
def test_requests_to_this_machine_trust_no_environment(url: str) -> None:
    assert not trusts_environment(url)


@pytest.mark.parametrize(
    "url", ["https://gpu7:8000", "http://10.0.0.1", "http://[2001:db8::1]:80", "http://localhost.io"]
)
def test_requests_to_other_machines_do(url: str) -> None:
    assert trusts_environment(url)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("socks5://me:secret@proxy:1080", "socks5://proxy:1080"),
        ("me:sec/ret@proxy:3128", "proxy:3128"),
        ("http://me:a://b@proxy", "http://proxy"),
        ("/etc/certificates.pem", "/etc/certificates.pem"),
    ],
)
def test_addresses_are_shown_without_credentials(address: str, shown: str) -> None:
    assert without_credentials(address) == shown


def test_every_client_says_whether_it_trusts_the_environment() -> None:
    silent = []
    for file in (file for package in ("engines", "evals", "flows") for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {f"httpx.{name}" for name in CLIENTS}:
                names = {keyword.arg for keyword in node.keywords}  # None: `**settings`
                if not names & {"trust_env", None}:
                    silent.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert not silent


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("NO_PROXY", "[::1]"),
        ("ALL_PROXY", "socks5://127.0.0.1:9"),
        ("SSL_CERT_FILE", "/no/such/file.pem"),
    ],
)
def test_our_servers_are_reached_whatever_the_shell_says(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    engine = fake_engine("good", ready_seconds=10.0)
    with serve(engine, HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        assert read_gauges(endpoint.url + "/metrics", endpoint.headers)
