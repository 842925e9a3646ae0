"""The life of a server, once for every engine: free port, start, readiness, facts, stop of the whole tree."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from engines.environment import Environment
from engines.metrics import read_gauges
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
            yield _endpoint(engine, serving, launch, child, time.monotonic() - started), child
            return


def _endpoint(engine: Engine, serving: Serving, launch: Launch, child: Child, startup_seconds: float) -> Endpoint:
    url, dialect = f"http://{HOST}:{serving.port}", engine.dialect
    metrics_url = None
    if dialect.metrics:
        metrics_url = f"http://{HOST}:{launch.metrics_port or serving.port}{dialect.metrics}"
    endpoint = Endpoint(
        url=url,
        api_key=serving.api_key,
        pid=child.guard.pid,
        log=child.log,
        dialect=dialect,
        startup_seconds=startup_seconds,
        facts=engine.read_facts(child.log.read_text(encoding="utf-8", errors="replace")),
        metrics_url=metrics_url,
    )
    return replace(endpoint, facts={**endpoint.facts, **_gauge_facts(endpoint)})


def _gauge_facts(endpoint: Endpoint) -> dict[str, float]:
    """What the server tells of itself in gauges rather than in its log. A gauge that is absent is no fact."""
    wanted = endpoint.dialect.fact_gauges
    if not wanted or not endpoint.metrics_url:
        return {}
    gauges = read_gauges(endpoint.metrics_url, endpoint.headers)
    return {fact: gauges[name] * factor for fact, (name, factor) in wanted.items() if name in gauges}


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
