"""Prefect's server for tests, on a copy of a database that was migrated once: migrating takes longer than most tests."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from engines.runtime.cache import create_cache

MIGRATE = "import asyncio; from prefect.server.database import provide_database_interface as database; "
MIGRATE += "asyncio.run(database().create_db())"
DATABASES = Path(__file__).resolve().parents[2] / ".pytest_cache" / "d" / "prefect"  # in pytest's own cache


def _migrated_database() -> Path:
    """What a server of this version of Prefect begins with, made unless an earlier run of tests has made it."""
    DATABASES.mkdir(parents=True, exist_ok=True)
    file = DATABASES / f"prefect-{version('prefect')}.db"
    with FileLock(DATABASES / "lock"):
        if not file.exists():
            with TemporaryDirectory(dir=DATABASES) as place:
                made, copy = Path(place, "made.db"), Path(place, "copy.db")
                address = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{made}"}
                command = [sys.executable, "-c", MIGRATE]
                subprocess.run(command, env=os.environ | address, check=True, capture_output=True)
                with closing(sqlite3.connect(made)) as database:
                    database.execute("VACUUM INTO ?", [str(copy)])  # with what was not yet in its main file
                copy.rename(file)
    return file


def give_database() -> None:
    """Put it where bitfrontier's own server of Prefect looks, in the cache that BITFRONTIER_CACHE names."""
    home = create_cache() / "prefect"
    if not home.exists():
        home.mkdir()
        shutil.copy(_migrated_database(), home)


@contextmanager
def prefect_server(log: Path) -> Iterator[None]:
    """As bitfrontier starts it, but what runs on it is shown, as on a server of the user's."""
    from prefect.context import _temporary_global_settings_context, get_settings_context
    from prefect.events.worker import EventsWorker
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        PREFECT_LOGGING_TO_API_ENABLED,
        temporary_settings,
    )

    from flows.orchestration.api_server import _own_server

    give_database()
    with _own_server(log) as (url, login):
        settings = {PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: login, PREFECT_LOGGING_TO_API_ENABLED: False}
        # threads have the process's settings, without which they would start one more server
        with temporary_settings(updates=settings), _temporary_global_settings_context(get_settings_context()):
            yield
            EventsWorker.drain_all()
