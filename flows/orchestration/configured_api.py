"""The Prefect API that the user's settings name: it must answer, within seconds, before any work."""

from __future__ import annotations

import os
from pathlib import Path

import httpx

from engines.addresses import without_credentials
from quant.errors import BitfrontierError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
CONNECT_SECONDS = 1.5  # Prefect's client tries four times to connect
ANSWER_SECONDS = 6.0
NO_API = "is no Prefect API (they end in /api)"


class PrefectUnusable(BitfrontierError):
    """The Prefect API that is configured cannot be used."""

    exit_code = 2

    def __init__(self, url: str, origin: str, problem: str) -> None:
        remedy = "Correct the address or the key, or start the server; or use --no-prefect-server"
        super().__init__(f"Prefect's API at {without_credentials(url)} (from {origin}) {problem}. {remedy}.")


def keep_loopback_direct() -> None:
    """Let no proxy be asked for this machine's own servers: Prefect's clients go by the variables."""
    for name in [name for name in ("NO_PROXY", "no_proxy") if os.environ.get(name)] or ["NO_PROXY"]:
        hosts = [host.strip() for host in os.environ.get(name, "").split(",") if host.strip()]
        if "*" not in hosts:
            os.environ[name] = ",".join(dict.fromkeys([*hosts, *LOOPBACK]))


def configured_url() -> str | None:
    """The address that PREFECT_API_URL or a profile gives, if any. Raises PrefectUnusable where it is none."""
    try:
        from prefect.settings import PREFECT_API_URL

        return PREFECT_API_URL.value() or None
    except ValueError as error:  # all settings are read at once, when Prefect is imported
        given = os.environ.get("PREFECT_API_URL", "")
        raise PrefectUnusable(given, "the variable PREFECT_API_URL", "is no address") from error


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
    return f"Prefect's settings in a file of {Path.cwd()}"
