from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.orchestration.configured_api import (
    PrefectUnusable,
    UnusableSetting,
    configured_url,
    keep_loopback_direct,
    require_answer,
)
from tests.support.stub_api import answering


@pytest.fixture(autouse=True)
def no_proxy_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:secret@127.0.0.1:9/api", r"at http://127\.0\.0\.1:9/api .* does not answer: ConnectError"),
        ("localhost:4200/api", r"at localhost:4200/api .* does not begin with http:// or https://"),
        ("htp://127.0.0.1:9/api", r"does not begin with http:// or https://"),
        ("http://127.0.0.1:port/api", r"is not a Prefect API \(they end in /api\)"),
    ],
)
def test_an_address_that_is_dead_or_mistyped_is_one_line(url: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("PREFECT_API_URL", url)
    started = time.monotonic()
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(PrefectUnusable, match=shown) as raised:
        require_answer(url)
    assert time.monotonic() - started < 10
    assert "(from the variable PREFECT_API_URL)" in str(raised.value)
    assert "--no-prefect-server" in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (401, b"{}", "refuses the login: HTTP 401"),
        (403, b"{}", "refuses the login: HTTP 403"),
        (503, b"{}", "is out of order: HTTP 503"),
        (404, b"{}", r"is not a Prefect API \(they end in /api\): HTTP 404"),
        (200, b"<html>", r"is not a Prefect API \(they end in /api\)"),
    ],
)
def test_a_server_that_refuses_or_is_another_is_one_line(
    status: int, body: bytes, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with (
        answering(status, body) as url,
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(PrefectUnusable, match=shown) as raised,
    ):
        require_answer(url)
    assert "(from Prefect's settings)" in str(raised.value)


def test_an_address_of_a_profile_is_said_to_be_its(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(
        'active = "work"\n[profiles.work]\nPREFECT_API_URL = "http://127.0.0.1:9/api"\n'
    )
    variables = {**os.environ, "PREFECT_HOME": str(tmp_path), "PREFECT_PROFILES_PATH": str(tmp_path / "profiles.toml")}
    variables.pop("PREFECT_API_URL", None)
    program = "from flows.orchestration.configured_api import *; require_answer(configured_url())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=variables)
    assert "(from Prefect's profile 'work') does not answer" in done.stderr


READ = """
from flows.orchestration.configured_api import *
try:
    print(configured_url())
except (PrefectUnusable, UnusableSetting) as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (
            {"PREFECT_API_URL": "http://[::1/api"},
            "Prefect's API at http://[::1/api (from the variable PREFECT_API_URL) is not an address",
        ),
        ({"PREFECT_API_REQUEST_TIMEOUT": "abc"}, "Prefect's setting PREFECT_API_REQUEST_TIMEOUT: Input should be a "),
        ({"PREFECT_SERVER_API_PORT": "abc"}, "Prefect's setting PREFECT_SERVER_API_PORT: Input should be a valid int"),
        ({"PREFECT_CLIENT_MAX_RETRIES": "abc"}, "Prefect's setting PREFECT_CLIENT_MAX_RETRIES: Input should be a "),
    ],
)
def test_what_prefect_itself_cannot_read_is_one_line(given: dict[str, str], shown: str, tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run(
        [sys.executable, "-c", READ],
        capture_output=True,
        text=True,
        env={**variables, "PREFECT_HOME": str(tmp_path), **given},
    )
    assert done.stdout.startswith(shown), done
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "text", "refused"),
    [
        ("prefect.toml", '[api]\nurl = "http://127.0.0.1:9/theirs"\n', True),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "http://127.0.0.1:9/theirs"\n', True),
        (".env", "prefect_api_url=http://127.0.0.1:9/theirs\n", True),
        (".env", None, True),  # a pipe
        ("pyproject.toml", '[project]\nname = "prefect"\n', False),
        ("pyproject.toml", "[tool.other]\nx = 1\n", False),
        (".env", "OTHER=1\n", False),
    ],
)
def test_settings_of_the_working_directory_are_not_read(
    tmp_path: Path, name: str, text: str | None, refused: bool
) -> None:
    """Whoever sent a folder to work in would choose the server that gets the user's login."""
    if text is None:
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).write_text(text)
    root = Path(__file__).resolve().parents[3]
    variables = {**os.environ, "PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(root)}
    variables.pop("PREFECT_API_URL", None)
    done = subprocess.run(
        [sys.executable, "-P", "-c", READ], capture_output=True, text=True, env=variables, cwd=tmp_path, timeout=60
    )
    assert "theirs" not in done.stdout
    expected = f"{tmp_path / name} holds settings of Prefect's, which may name its server and programs to run. If they"
    assert done.stdout.startswith(expected if refused else "None"), done


def test_a_damaged_project_in_the_working_directory_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect reads it where it is imported, and would end with a traceback."""
    (tmp_path / "pyproject.toml").write_text("damaged")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UnusableSetting, match=r"pyproject\.toml: Prefect cannot read it \(TOMLDecodeError: .*\)\. Corr"
    ):
        configured_url()


def test_a_virtual_environment_that_is_called_env_is_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = configured_url()
    (tmp_path / ".env").mkdir()
    monkeypatch.chdir(tmp_path)
    assert configured_url() == elsewhere


@pytest.mark.parametrize(
    ("variable", "shown"),
    [
        (None, "(from Prefect's profile or a file of settings) is not an address"),
        ("", "None\n"),  # as --no-prefect-server sets it
    ],
)
def test_a_profile_s_address_that_is_none(variable: str | None, shown: str, tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text('active = "work"\n[profiles.work]\nPREFECT_API_URL = "http://[::1/api"\n')
    variables = {**os.environ, "PREFECT_HOME": str(tmp_path), "PREFECT_PROFILES_PATH": str(tmp_path / "profiles.toml")}
    variables.pop("PREFECT_API_URL", None)
    if variable is not None:
        variables["PREFECT_API_URL"] = variable
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, env=variables)
    assert shown in done.stdout, done


def test_a_server_that_answers_is_taken() -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with answering(200) as url, temporary_settings({PREFECT_API_URL: url}):
        require_answer(url)
        assert configured_url() == url


@pytest.mark.parametrize(
    ("given", "after"),
    [
        ({}, {"NO_PROXY": "localhost,127.0.0.1,::1"}),
        ({"NO_PROXY": "a.b, 127.0.0.1"}, {"NO_PROXY": "a.b,127.0.0.1,localhost,::1"}),
        ({"no_proxy": "a"}, {"no_proxy": "a,localhost,127.0.0.1,::1"}),
        ({"NO_PROXY": "*"}, {"NO_PROXY": "*"}),
    ],
)
def test_no_proxy_is_extended_by_this_machine(
    given: dict[str, str], after: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    keep_loopback_direct()
    assert {name: os.environ[name] for name in ("NO_PROXY", "no_proxy") if name in os.environ} == after
    for name in after:
        monkeypatch.delenv(name)
