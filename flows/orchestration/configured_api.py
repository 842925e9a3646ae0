"""The Prefect API that the user's settings name: it must answer, within seconds, before any work."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import httpx
from pydantic import ValidationError

from engines.addresses import without_credentials
from quant.canonical_json import read_regular
from quant.errors import BitfrontierError, reading

LOOPBACK = ("localhost", "127.0.0.1", "::1")
CONNECT_SECONDS = 1.5  # Prefect's client tries four times to connect
ANSWER_SECONDS = 6.0
LOCAL_SETTINGS = ("prefect.toml", "pyproject.toml", ".env")  # of the working directory, as Prefect has them
NO_API = "is not a Prefect API (they end in /api)"


class PrefectUnusable(BitfrontierError):
    """The Prefect API that is configured cannot be used."""

    exit_code = 2

    def __init__(self, url: str, origin: str, problem: str) -> None:
        remedy = "Correct the address or the key, or start the server; or use --no-prefect-server"
        super().__init__(f"Prefect's API at {without_credentials(url)} (from {origin}) {problem}. {remedy}.")


class UnusableSetting(BitfrontierError):
    """A setting of Prefect's, not its address, has a value that Prefect does not take."""

    exit_code = 2


def keep_loopback_direct() -> None:
    """Let no proxy be asked for this machine's own servers: Prefect's clients go by the variables."""
    for name in [name for name in ("NO_PROXY", "no_proxy") if os.environ.get(name)] or ["NO_PROXY"]:
        hosts = [host.strip() for host in os.environ.get(name, "").split(",") if host.strip()]
        if "*" not in hosts:
            os.environ[name] = ",".join(dict.fromkeys([*hosts, *LOOPBACK]))


def configured_url() -> str | None:
    """The address that PREFECT_API_URL or a profile gives, if any.

    Raises PrefectUnusable where it is none, and UnusableSetting where another setting is no such value, or where
    Prefect would read settings of the working directory.
    """
    _refuse_local_settings(Path.cwd())
    os.environ.setdefault("DO_NOT_TRACK", "1")  # else Prefect's import prints on a terminal what it collects
    try:
        from prefect.settings import PREFECT_API_URL

        return PREFECT_API_URL.value() or None
    except ValidationError as error:  # all settings are read at once, when Prefect is imported
        refusal = error.errors()[0]
        if refusal["loc"]:
            setting = _variable(error.title, str(refusal["loc"][-1]))
            raise UnusableSetting(f"Prefect's setting {setting}: {refusal['msg']}. Correct or unset it.") from error
        given = os.environ.get("PREFECT_API_URL", "")
        origin = "the variable PREFECT_API_URL" if given else "Prefect's profile or a file of settings"
        raise PrefectUnusable(given, origin, "is not an address") from error


def _refuse_local_settings(folder: Path) -> None:
    """Prefect reads them where it is imported. The folder may be somebody else's, or what he sent."""
    for file in (folder / name for name in LOCAL_SETTINGS):
        if file.name == ".env" and file.is_dir():  # a virtual environment, which Prefect leaves alone
            continue
        if os.path.lexists(file) and _sets_prefect(file):
            raise UnusableSetting(
                f"{file} holds settings of Prefect's, which may name its server and programs to run. If they are "
                "yours, put them into variables or a profile; or work in another folder"
            )


def _sets_prefect(file: Path) -> bool:
    """True also where it is no file: Prefect would wait for a pipe. Raises UnusableSetting where a project is damaged,
    which Prefect reads too.
    """
    try:
        text = read_regular(file).decode(errors="replace")
        if file.name == "pyproject.toml":
            with reading(file, UnusableSetting, "Correct it, or work in another folder", "Prefect cannot read it"):
                project = tomllib.loads(text)
            return "prefect" in project["tool"]
    except OSError:
        return True
    except (LookupError, TypeError):
        return False
    return file.name == "prefect.toml" or "PREFECT_" in text.upper()


def _variable(group: str, field: str) -> str:
    """The variable of a field of Prefect's settings: `request_timeout` of `APISettings` is PREFECT_API_REQUEST_TIMEOUT.

    Words of a group's name are parted by capitals only: of the variables that are set, the one that ends so is meant.
    """
    letters = group.removesuffix("Settings").upper()
    names = [name for name in os.environ if name.startswith("PREFECT_") and name.endswith(field.upper())]
    matching = [name for name in names if name.replace("_", "") == f"PREFECT{letters}{field.upper()}".replace("_", "")]
    return (matching or [f"PREFECT_{letters}_{field.upper()}".replace("__", "_")])[0]


def require_answer(url: str) -> None:
    """Ask the API for something that needs a login where there is one. Raises PrefectUnusable."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    limits = {"timeout": httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)}
    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(sync_client=True, httpx_settings=limits) as client,
        ):
            client.read_flows(limit=1)
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        problem = "refuses the login" if code in (401, 403) else "is out of order" if code >= 500 else NO_API
        raise PrefectUnusable(url, _origin(url), f"{problem}: HTTP {code}") from error
    except httpx.UnsupportedProtocol as error:
        raise PrefectUnusable(url, _origin(url), "does not begin with http:// or https://") from error
    except httpx.TransportError as error:
        raise PrefectUnusable(url, _origin(url), f"does not answer: {type(error).__name__} {error}".rstrip()) from error
    except (httpx.InvalidURL, ValueError) as error:
        raise PrefectUnusable(url, _origin(url), NO_API) from error


def _origin(url: str) -> str:
    """Where the address was set, in words."""
    from prefect.context import get_settings_context
    from prefect.settings import PREFECT_API_URL

    if os.environ.get("PREFECT_API_URL"):
        return "the variable PREFECT_API_URL"
    profile = get_settings_context().profile
    if profile.settings.get(PREFECT_API_URL) == url:
        return f"Prefect's profile '{profile.name}'"
    return "Prefect's settings"
