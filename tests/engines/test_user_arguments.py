"""What a user adds to a server's command line and variables reaches it; what is set anyway is named."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from engines.registry import engines_by_name
from engines.runtime.server import serve
from engines.types import Launch, Serving
from engines.user_arguments import extended, own_options, refusals, with_users
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
    given = ["--port", "2", "--no-eager", "--d_type", "--dtype", "x", "--cache", "--new", "-1", "-tp"]
    env = {"OURS": "2", "THEIRS": "1", "PATH": "/x", "MY_SECRET": "s", "LD_PRELOAD": "y.so"}
    wrong = list(refusals(LAUNCH, with_users({}, given, env)))
    assert [(kind, why.split()[0]) for kind, why in wrong] == [
        ("arguments", "--port"),
        ("arguments", "--no-eager"),
        ("arguments", "--dtype"),
        ("arguments", "--cache"),
        ("arguments", "-tp"),
        ("env", "OURS"),
        ("env", "PATH"),
        ("env", "MY_SECRET"),
    ]


def test_a_container_s_client_reads_variables_too() -> None:
    """They reach a container through the client's own environment, so that no value stands on its command line."""
    options = with_users({}, [], {"LD_PRELOAD": "y.so", "http_proxy": "x", "VLLM_Y": "1"})
    assert list(refusals(LAUNCH, options)) == []
    assert [why.split()[0] for _, why in refusals(LAUNCH, options, in_image=True)] == ["LD_PRELOAD", "http_proxy"]


@pytest.mark.parametrize("name", ["transformers", "openvino", "llama_cpp", "deepspeed", "triton"])
def test_programs_of_ours_take_no_others(name: str, tmp_path: Path) -> None:
    engine = engines_by_name()[name]
    launch = engine.launch(Serving(tmp_path, CPU, 1, 64), **{option.name: option.default for option in engine.options})
    ((kind, why),) = refusals(launch, with_users({}, ["--x"], {}))
    assert (kind, "takes no other arguments than its options" in why) == ("arguments", True)


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
    flags = (
        "--model",
        "--port",
        "--kv-cache-dtype=fp8",
        "--enable-prefix-caching",
        "--no-enforce-eager",
        "--max_model_len",
    )
    for flag in flags:
        assert [kind for kind, _ in refusals(launch, {"arguments": [flag, "1"]})] == ["arguments"], flag
    assert list(refusals(launch, {"arguments": ["--attention-backend", "TRITON_ATTN"]})) == []
