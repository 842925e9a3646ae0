from __future__ import annotations

import shlex
import socket
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import engines.runtime.server
from engines.redaction import redacted
from engines.runtime.own_packages import import_folder
from engines.runtime.process import ProcessFailed
from engines.runtime.server import _command, free_port, serve
from engines.types import Launch, ServerFailed, Serving, TimeLimits
from tests.support.fake_engine import CPU, HERE, fake_engine


def _serve(tmp_path: Path, behaviour: str = "good", ready_seconds: float = 30.0):  # type: ignore[no-untyped-def]
    engine = fake_engine(behaviour, ready_seconds=ready_seconds)
    return serve(engine, HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log")


def test_a_server_is_ready_then_gone(tmp_path: Path) -> None:
    with _serve(tmp_path) as (endpoint, child):
        assert httpx.get(endpoint.url + "/health").status_code == 200
        assert endpoint.facts["fact"] == 42
        assert endpoint.startup_seconds > 0
        tree = child.tree()
        assert tree
    assert not [process for process in tree if process.is_running()]
    with pytest.raises(httpx.ConnectError):
        httpx.get(endpoint.url + "/health")


def test_facts_are_read_from_gauges(tmp_path: Path) -> None:
    made = fake_engine()
    gauges = {"kv_cache_bytes": ("bitfrontier_kv_cache_peak_bytes", 2.0), "weights_bytes": ("absent", 1.0)}
    engine = replace(made, dialect=replace(made.dialect, fact_gauges=gauges))
    with serve(engine, HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        facts = {name: value for name, value in endpoint.facts.items() if name != "command"}
        assert facts == {"fact": 42, "dtype": "float32", "kv_cache_bytes": 154.0}
        assert endpoint.metrics_url == endpoint.url + "/metrics"


def test_the_command_can_be_typed_again(tmp_path: Path) -> None:
    with _serve(tmp_path) as (endpoint, _):
        words = shlex.split(str(endpoint.facts["command"]))
        assert words[0] == sys.executable
        assert words[-3:] == ["8000", "$BITFRONTIER_KEY", "good"]
        assert endpoint.api_key not in str(endpoint.facts["command"])


def test_the_command_of_a_server_of_ours_runs_in_any_folder(tmp_path: Path) -> None:
    serving = Serving(tmp_path, CPU, 1, 64, 4321, "a-key")
    ours = Launch(("-m", "engines.launchers.openvino_server", "--port", "4321"), {"KEY": "a-key"})
    theirs = Launch(("-m", "vllm.entrypoints.openai.api_server"), {})
    shown = _command(HERE, ours, serving)
    assert shown.startswith(f"PYTHONPATH={import_folder()} KEY=$BITFRONTIER_KEY ")
    assert shown.endswith(" -m engines.launchers.openvino_server --port 8000")
    assert "PYTHONPATH" not in _command(HERE, theirs, serving)


def test_the_key_is_wanted(tmp_path: Path) -> None:
    with _serve(tmp_path) as (endpoint, _):
        assert httpx.post(endpoint.url + "/score", json={"items": []}).status_code == 401
        assert httpx.post(endpoint.url + "/score", json={"items": []}, headers=endpoint.headers).status_code == 200
        assert redacted(f"refused {endpoint.api_key}") == "refused (hidden)"


def test_a_server_that_looks_into_no_header_has_its_key_in_requests(tmp_path: Path) -> None:
    made = fake_engine()
    engine = replace(made, dialect=replace(made.dialect, key_field="key", request_fields={"cache": False}))
    with serve(engine, HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        assert endpoint.dialect.request_fields == {"cache": False, "key": endpoint.api_key}


def test_a_server_that_exits_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="ended with exit code 7") as caught, _serve(tmp_path, "exits"):
        pass
    assert caught.value.cause == "the server ended with exit code 7 before it was ready: no such kernel on this machine"
    assert (caught.value.kind, caught.value.log_tail.splitlines()[0]) == ("crash-at-start", "fake-fact 42")


def test_a_server_that_hangs_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="not ready after 1 s"), _serve(tmp_path, "silent", 1.0):
        pass


def test_a_plan_may_give_a_server_less_time(tmp_path: Path) -> None:
    limits = TimeLimits(ready_seconds=0.5)
    with (
        pytest.raises(ProcessFailed, match="not ready after 0 s"),
        serve(fake_engine("silent"), HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log", limits=limits),
    ):
        pass


def test_a_server_that_ends_while_it_is_used_says_how(tmp_path: Path) -> None:
    words = r"the server ended with signal SIGKILL while it was used \(no answer\): fake-fact 42"
    with pytest.raises(ProcessFailed, match=words), _serve(tmp_path) as (_, child):  # noqa: PT012
        child.tree()[0].kill()
        raise ServerFailed("no answer")


def test_an_exception_inside_stops_the_server(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), _serve(tmp_path) as (_, child):  # noqa: PT012
        tree = child.tree()
        raise ZeroDivisionError
    assert not [process for process in tree if process.is_running()]


def test_a_port_taken_at_the_last_moment_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr(engines.runtime.server, "free_port", lambda: next(ports))
        with _serve(tmp_path) as (endpoint, _):
            assert httpx.get(endpoint.url + "/health").status_code == 200
