from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

import flows.orchestration.api_server
from engines.runtime.process import ProcessFailed, running
from flows.orchestration.api_server import PrefectLost, _wait_until_ready, prefect_api, unwatched
from flows.orchestration.configured_api import UnusableSetting
from tests.support.emulator import emulate
from tests.support.prefect_server import give_database
from tests.support.stub_api import answering


def test_a_server_of_the_users_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    def no_other(*args: object) -> None:
        raise AssertionError("a second server was started")

    monkeypatch.setattr(flows.orchestration.api_server, "running", no_other)
    with answering(200) as url, temporary_settings({PREFECT_API_URL: url}), prefect_api(tmp_path / "log"):
        assert PREFECT_API_URL.value() == url


def test_a_server_of_the_users_is_ignored_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    give_database()
    theirs = "http://127.0.0.1:9/api"
    monkeypatch.setenv("PREFECT_API_URL", theirs)
    with temporary_settings({PREFECT_API_URL: theirs}), prefect_api(tmp_path / "log", own=True):
        assert PREFECT_API_URL.value() != theirs
        assert unwatched.get()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, "http://127.0.0.1:9/api\n"),
        ({"PREFECT_API_URL": "http://[::1/api"}, "http://127.0.0.1:9/api\n"),
        ({"PREFECT_API_REQUEST_TIMEOUT": "abc"}, "Prefect's setting PREFECT_API_REQUEST_TIMEOUT: Input should be"),
    ],
)
def test_an_address_that_is_none_does_not_matter_to_our_own_server(
    given: dict[str, str], shown: str, tmp_path: Path
) -> None:
    (tmp_path / "profiles.toml").write_text('active = "work"\n[profiles.work]\nPREFECT_API_URL = "http://[::1/api"\n')
    program = """
import contextlib
from pathlib import Path
from flows.orchestration import api_server
from quant.errors import BitfrontierError
api_server._own_server = lambda log: contextlib.nullcontext(("http://127.0.0.1:9/api", "me:secret"))
try:
    with api_server.prefect_api(Path("log"), own=True):
        from prefect.settings import PREFECT_API_URL
        print(PREFECT_API_URL.value())
except BitfrontierError as error:
    print(error)
"""
    home = {"PREFECT_HOME": str(tmp_path), "PREFECT_PROFILES_PATH": str(tmp_path / "profiles.toml")}
    variables = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**variables, **home, **given}
    )
    assert done.stdout.startswith(shown), done


def test_our_own_server_reports_to_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Prefect's would tell its makers of itself every ten minutes. Asked of the server, which has variables of its own
    alone.
    """
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    with temporary_settings({PREFECT_API_URL: None}), prefect_api(tmp_path / "log"):
        name, _, password = str(PREFECT_API_AUTH_STRING.value()).partition(":")
        login = (name, password.removeprefix(":"))
        answer = httpx.get(f"{PREFECT_API_URL.value()}/admin/settings", auth=login, trust_env=False, timeout=30)
        assert answer.json()["server"]["analytics_enabled"] is False


def test_the_users_own_database_is_not_touched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable leads our server to it; where a file of settings in the working directory would, nothing starts."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    theirs = f"sqlite+aiosqlite:///{tmp_path / 'theirs.db'}"
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", theirs)
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with temporary_settings({PREFECT_API_URL: None}), prefect_api(tmp_path / "log"):
        # of this version of Prefect alone: none reads what a newer one has migrated
        assert (tmp_path / "cache" / "prefect" / f"prefect-{version('prefect')}.db").exists()
    for name, text in {
        ".env": f"PREFECT_API_DATABASE_CONNECTION_URL={theirs}\n",
        "prefect.toml": f'[server.database]\nconnection_url = "{theirs}"\n',
    }.items():
        (tmp_path / name).write_text(text)
        refused = pytest.raises(UnusableSetting, match=rf"{re.escape(name)} holds settings of Prefect's")
        with refused, temporary_settings({PREFECT_API_URL: None}), prefect_api(tmp_path / "log"):
            pass
        (tmp_path / name).unlink()
    assert not (tmp_path / "theirs.db").exists()


def test_a_server_that_ends_shows_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        running(["bash", "-c", "echo no database; exit 3"], {}, log) as child,
        pytest.raises(ProcessFailed, match=r"ended with exit code 3: no database"),
    ):
        _wait_until_ready(child, "http://127.0.0.1:9/api", log)


def test_a_server_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.orchestration.api_server, "READY_SECONDS", 0.5)
    log = tmp_path / "log"
    with running(["sleep", "100"], {}, log) as child, pytest.raises(ProcessFailed, match=r"not ready after (0|1) s"):
        _wait_until_ready(child, "http://127.0.0.1:9/api", log)


def test_a_server_that_is_gone_is_told_from_one_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    def use(url: str) -> None:
        with temporary_settings({PREFECT_API_URL: url}), prefect_api(tmp_path / "log"):
            raise httpx.ReadError("it broke")

    monkeypatch.setattr(flows.orchestration.api_server, "require_answer", lambda url: None)  # it answered at first
    with pytest.raises(PrefectLost, match=r"server at http://127\.0\.0\.1:9/api was lost \(ReadError: it broke\)"):
        use("http://127.0.0.1:9/api")
    with emulate("good") as url, pytest.raises(httpx.ReadError, match="it broke"):
        use(url)
