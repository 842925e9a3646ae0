"""What `bitfrontier doctor --site` finds, each planted."""

from __future__ import annotations

import io
import resource
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.cli.doctor import site
from flows.cli.doctor.site import examine_site


class _Page(BaseHTTPRequestHandler):
    status, off_seconds = 200, 0.0

    def do_HEAD(self) -> None:
        self.send_response_only(self.status)
        self.send_header("Date", formatdate(time.time() - self.off_seconds, usegmt=True))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def quiet_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing to do: hub and index answer, limits are high."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", url)
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(site, "pip_settings", lambda: {"index-url": [f"{url}/simple"]})
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1 << 20))
    monkeypatch.setattr(site, "available_cores", lambda: 1e6)
    monkeypatch.setattr(site, "memory_limit", lambda: 1 << 62)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    yield
    server.shutdown()
    server.server_close()


def _lines(runs: Path) -> dict[str, str]:
    return {finding.subject: f"{finding.state}: {finding.detail}" for finding in examine_site(runs)}


def test_where_nothing_stands_in_the_way_there_is_no_line(tmp_path: Path) -> None:
    assert _lines(tmp_path) == {}


def test_limits_are_said_with_what_they_are_good_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    monkeypatch.setattr(site, "available_cores", lambda: 0.5)
    monkeypatch.setattr(site, "memory_limit", lambda: 2_000_000_000)
    monkeypatch.setattr(site.psutil, "cpu_count", lambda: 8)
    lines = _lines(tmp_path)
    assert lines["open files"] == "missing: at most 1024 at once (ulimit -Hn): enough for 256 users of a load"
    assert lines["cores"] == "missing: 0.5 of the machine's 8 (affinity or cgroup); `threads: auto` takes 1"
    assert lines["memory"].startswith("missing: 2.0 of the machine's ")


def test_a_terminal_that_takes_few_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="latin-1"))
    assert _lines(tmp_path)["terminal"].startswith("missing: its encoding is latin-1: other characters")


def test_a_variable_that_no_client_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    (finding,) = [finding for finding in examine_site(tmp_path) if finding.subject == "proxies and certificates"]
    assert (finding.state, finding.detail) == ("broken", "SSL_CERT_FILE=/no/such/file: no such file")
    assert finding.remedy == "Correct the path, or unset the variable."


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(site.fcntl, "flock", refused)
    lines = _lines(tmp_path)
    assert lines["folder of runs"] == f"broken: {tmp_path} does not support file locks: No locks available"
    assert "cache folder" in lines


def test_a_cache_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITFRONTIER_CACHE", "/proc/no")
    assert _lines(tmp_path)["cache folder"].startswith("broken: /proc/no cannot be written")


def test_hub_and_index_that_do_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://me:planted@127.0.0.1:9")
    monkeypatch.setattr(_Page, "status", 503)
    lines = _lines(tmp_path)
    assert lines["hub"].endswith("http://127.0.0.1:9/ does not answer: ConnectError")
    assert "planted" not in lines["hub"]
    assert lines["package index"].endswith("/simple/pip/ answers HTTP 503")


def test_the_index_that_uv_is_set_to_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "site=http://127.0.0.1:9/theirs")
    assert _lines(tmp_path)["package index"].endswith("http://127.0.0.1:9/theirs/pip/ does not answer: ConnectError")


def test_a_clock_that_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Page, "off_seconds", 600.0)
    assert _lines(tmp_path)["clock"].startswith("broken: 60")
    assert " s ahead of that of http://127.0.0.1:" in _lines(tmp_path)["clock"]


def test_certificates_that_are_not_there_are_a_line_and_end_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    monkeypatch.setenv("HF_ENDPOINT", "https://huggingface.example")
    lines = _lines(tmp_path)
    assert lines["proxies and certificates"].startswith("broken: SSL_CERT_FILE=")
    assert lines["hub"].endswith("https://huggingface.example/ does not answer: FileNotFoundError")
