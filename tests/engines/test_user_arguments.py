"""What a user adds to a server's command line and variables reaches it; what is set anyway is named."""

from __future__ import annotations

from pathlib import Path

import psutil

from engines.registry import engines_by_name
from engines.runtime.server import serve
from engines.types import Launch, Serving
from engines.user_arguments import clashes, extended, own_options, with_users
from tests.support.fake_engine import CPU, HERE, fake_engine

LAUNCH = Launch(("-m", "server", "--port", "1", "--eager", "--no-cache", "--dtype=float16"), {"OURS": "1"})


def test_without_any_the_options_are_what_they_were() -> None:
    assert with_users({"a": 1}, [], {}) == {"a": 1}
    assert extended(LAUNCH, {"a": 1}) == LAUNCH


def test_they_stand_among_the_options_and_come_last() -> None:
    options = with_users({"a": 1}, ["--backend", "x"], {"THEIRS": "2"})
    assert options == {"a": 1, "arguments": ["--backend", "x"], "env": {"THEIRS": "2"}}
    assert own_options(options) == {"a": 1}
    launch = extended(LAUNCH, options)
    assert launch.command == (*LAUNCH.command, "--backend", "x")
    assert launch.environment == {"OURS": "1", "THEIRS": "2"}


def test_what_the_launch_sets_itself_is_named() -> None:
    given = ["--port", "2", "--no-eager", "--dtype", "x", "--cache", "--new", "-1"]
    wrong = clashes(LAUNCH, with_users({}, given, {"OURS": "2", "THEIRS": "1"}))
    assert list(wrong) == [
        ("arguments", "--port"),
        ("arguments", "--no-eager"),
        ("arguments", "--dtype"),
        ("arguments", "--cache"),
        ("env", "OURS"),
    ]


def test_they_reach_the_server(tmp_path: Path) -> None:
    options = with_users({}, ["more"], {"THEIRS": "two words"})
    with serve(fake_engine(), HERE, Serving(tmp_path, CPU, 1, 64), options, log=tmp_path / "log") as (endpoint, child):
        (server,) = psutil.Process(child.guard.pid).children()
        assert server.environ()["THEIRS"] == "two words"
        assert server.cmdline()[-1] == "more"
        assert "THEIRS='two words'" in str(endpoint.facts["command"])
        assert str(endpoint.facts["command"]).endswith(" more")


def test_every_flag_of_vllm_is_known_as_its_own(tmp_path: Path) -> None:
    vllm = engines_by_name()["vllm"]
    launch = vllm.launch(Serving(tmp_path, CPU, 1, 64), **{option.name: option.default for option in vllm.options})
    for flag in ("--model", "--port", "--kv-cache-dtype=fp8", "--enable-prefix-caching", "--no-enforce-eager"):
        assert list(clashes(launch, {"arguments": [flag]})) == [("arguments", flag.partition("=")[0])], flag
    assert list(clashes(launch, {"arguments": ["--attention-backend", "TRITON_ATTN"]})) == []
