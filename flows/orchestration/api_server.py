"""Prefect without a server of the user's: a quiet API server of our own, on the loopback address, for one sweep.

Prefect starts such a server by itself too, but leaves it behind when the sweep is killed; ours is guarded.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import httpx

from engines.addresses import trusts_environment, without_credentials
from engines.runtime.cache import create_cache
from engines.runtime.process import Child, ProcessFailed, running
from engines.runtime.server import HOST, free_port
from engines.types import arguments
from flows.orchestration.configured_api import configured_url, keep_loopback_direct, require_answer
from quant.errors import BitfrontierError

logger = logging.getLogger(__name__)

READY_SECONDS = 180.0
unwatched: ContextVar[bool] = ContextVar("unwatched", default=False)  # the server is ours, and nobody looks at it


class PrefectLost(BitfrontierError):
    """Prefect's server ended, or answers no more, while a sweep ran."""


@contextlib.contextmanager
def prefect_api(log: Path, *, own: bool = False) -> Iterator[None]:
    """Make an API reachable: the one that PREFECT_API_URL or the profile names, else a server of our own.

    With `own`, it is a server of our own in any case.

    Raises PrefectUnusable where the user's does not answer, UnusableSetting where Prefect cannot read its settings, and
    PrefectLost instead of what its client raises when there is no server any more.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_INTERNAL_LOGGING_LEVEL", "CRITICAL")
    keep_loopback_direct()
    if own:
        os.environ["PREFECT_API_URL"] = ""  # before a profile's, too: what is no address stops Prefect's import
    url = configured_url()  # also with `own`: another setting may be none
    if url and not own:
        require_answer(url)
        with _while_it_answers(url):
            yield
        return
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_LOGGING_TO_API_ENABLED,
        temporary_settings,
    )

    with _own_server(log) as (url, login):
        settings = {
            PREFECT_API_URL: url,
            PREFECT_API_AUTH_STRING: login,
            PREFECT_LOGGING_TO_API_ENABLED: False,  # nobody can read it there once the sweep has ended
        }
        with temporary_settings(updates=settings), _while_it_answers(url):
            token = unwatched.set(True)
            try:
                yield
            finally:
                unwatched.reset(token)


@contextlib.contextmanager
def _own_server(log: Path) -> Iterator[tuple[str, str]]:
    """A server that ends with the block: its address, and the login of its only user."""
    home = create_cache() / "prefect"
    home.mkdir(exist_ok=True)
    database = home / f"prefect-{version('prefect')}.db"  # no Prefect reads what a newer one has migrated
    port, login = free_port(), f"bitfrontier:{secrets.token_hex(16)}"
    variables = {
        "PREFECT_HOME": str(home),
        # said here, or a file of settings in the working directory could name the user's own
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",  # it would report to its makers every ten minutes
        "PREFECT_UI_ENABLED": "0",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "0",  # seconds, for what no sweep uses
        "PREFECT_SERVER_API_AUTH_STRING": login,
    }
    flags = {"--host": HOST, "--port": port, "--log-level": "error", "--lifespan": "on"}
    application = ("-m", "uvicorn", "--factory", "prefect.server.api.server:create_app")
    log.unlink(missing_ok=True)
    with running([sys.executable, *application, *arguments(flags)], variables, log) as child:
        url = f"http://{HOST}:{port}/api"
        logger.info("Prefect's server of our own starts at %s", url)
        import_module("flows.orchestration.sweep")  # while the server starts: either takes seconds
        _wait_until_ready(child, url, log)
        yield url, login


@contextlib.contextmanager
def _while_it_answers(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        with httpx.Client(timeout=5, trust_env=trusts_environment(url)) as client:
            if _answers(client, url):
                raise
        raise PrefectLost(
            f"Prefect's server at {without_credentials(url)} was lost ({type(error).__name__}: {error})"
        ) from error


def _wait_until_ready(child: Child, url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(timeout=5, trust_env=False) as client:  # one for all: a new one reads all certificates again
        while time.monotonic() < deadline:
            if child.returncode is not None:
                raise ProcessFailed(f"Prefect's server ended with {child.ending}", log)
            if _answers(client, url):
                return
            time.sleep(0.2)
    raise ProcessFailed(f"Prefect's server was not ready after {READY_SECONDS:.0f} s", log)


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/health").status_code in (200, 401)
    except httpx.TransportError:
        return False
