"""The life of a server, once for every engine: free port, start, readiness, facts, stop of the whole tree."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from engines.environment import Environment
from engines.process import Child, ProcessFailed, running, tail
from engines.registry import Engine
from engines.spec import Device, Dialect, Endpoint, Launch, Serving

HOST = "127.0.0.1"
POLL_SECONDS = 0.25
PORT_ATTEMPTS = 3


def free_port() -> int:
    """A port on the loopback address that nobody listens on now. Another program may take it before we do."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serve(
    engine: Engine,
    environment: Environment,
    checkpoint: Path,
    device: Device,
    options: Mapping[str, Any],
    *,
    threads: int,
    max_model_len: int,
    log: Path,
) -> Iterator[tuple[Endpoint, Child]]:
    """Start `engine` on `checkpoint`, wait until it answers, yield it, stop it. Raises ProcessFailed with the log."""
    for attempt in range(1, PORT_ATTEMPTS + 1):
        serving = Serving(checkpoint, free_port(), secrets.token_hex(16), device, threads, max_model_len)
        launch = engine.launch(serving, **options)
        log.unlink(missing_ok=True)
        started = time.monotonic()
        with running(environment.argv(launch.command, launch.environment), launch.environment, log) as child:
            try:
                _wait_until_ready(child, serving, engine.dialect, launch)
            except ProcessFailed as error:
                if "address already in use" in str(error).lower() and attempt < PORT_ATTEMPTS:
                    continue
                raise
            startup_seconds = time.monotonic() - started
            yield (
                Endpoint(
                    url=f"http://{HOST}:{serving.port}",
                    api_key=serving.api_key,
                    pid=child.guard.pid,
                    log=log,
                    dialect=engine.dialect,
                    startup_seconds=startup_seconds,
                    facts=engine.read_facts(log.read_text(encoding="utf-8", errors="replace")),
                ),
                child,
            )
            return


def _wait_until_ready(child: Child, serving: Serving, dialect: Dialect, launch: Launch) -> None:
    deadline = time.monotonic() + launch.ready_timeout_seconds
    url = f"http://{HOST}:{serving.port}{dialect.health}"
    with httpx.Client(timeout=5.0, headers={"Authorization": f"Bearer {serving.api_key}"}) as client:
        while time.monotonic() < deadline:
            if child.returncode is not None:
                raise ProcessFailed(
                    f"the server ended with exit code {child.returncode} before it was ready; the end of "
                    f"{child.log}:\n{tail(child.log)}"
                )
            with contextlib.suppress(httpx.TransportError):
                if client.get(url).status_code == 200:
                    return
            time.sleep(POLL_SECONDS)
    raise ProcessFailed(
        f"the server was not ready after {launch.ready_timeout_seconds:.0f} s; the end of "
        f"{child.log}:\n{tail(child.log)}"
    )
