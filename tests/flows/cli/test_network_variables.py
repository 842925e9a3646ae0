from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli.network_variables import NAMES, UnusableVariable, check_network_variables

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _no_other_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("NO_PROXY", "localhost,[::1]", r"NO_PROXY=localhost,\[::1\]: not a list of host names"),
        ("ALL_PROXY", "socks5://me:secret@proxy:1080", r"ALL_PROXY=socks5://proxy:1080: a SOCKS proxy needs"),
        ("https_proxy", "http://me:secret@proxy:port", r"https_proxy=http://proxy:port: not the address of a proxy"),
        ("http_proxy", "ftp://proxy", r"http_proxy=ftp://proxy: not the address of a proxy"),
        ("SSL_CERT_FILE", "/no/such.pem", r"SSL_CERT_FILE=/no/such\.pem: no such file\. Correct the path"),
        ("SSL_CERT_FILE", __file__, r"SSL_CERT_FILE=.*: no certificates can be read from it"),
    ],
)
def test_a_variable_that_no_client_takes_is_named(
    name: str, value: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTP_PROXY" if name != "HTTP_PROXY" else "HTTPS_PROXY", "http://fine:3128")
    with pytest.raises(UnusableVariable, match=shown) as raised:
        check_network_variables()
    assert "secret" not in str(raised.value)
    assert os.environ[name] == value


def test_variables_of_a_usual_site_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1,::1,10.0.0.0/8,.example.org")
    check_network_variables()
    assert os.environ["HTTPS_PROXY"] == "http://me:secret@proxy:3128"


@pytest.mark.parametrize("command", [("plan",), ("sweep",), ("quantize", "none float16")])
def test_it_ends_a_command_in_one_line(command: tuple[str, ...]) -> None:
    variables = {**os.environ, "NO_PROXY": "[::1]"}
    arguments = (command[0], "configs/quickstart.yaml", *command[1:])
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments], capture_output=True, text=True, cwd=ROOT, env=variables
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: NO_PROXY=[::1]: not a list of host names and addresses. Write it as localhost,127.0.0.1,::1 (no brackets)."
    ]
