"""The life of a server, once for every engine: free port, start, readiness, facts, stop of the whole tree."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shlex
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from engines.bounded_http import request
from engines.redaction import excerpt, hide_key, redacted_texts
from engines.registry import Engine
from engines.runtime.environments import Environment
from engines.runtime.identities import server_identity
from engines.runtime.own_packages import import_folder
from engines.runtime.process import Child, ProcessFailed, read_log, running
from engines.runtime.prometheus import read_gauges
from engines.types import (
    ATTACHED_SERVER,
    LIMITS,
    Attached,
    Dialect,
    Endpoint,
    Launch,
    ServerFailed,
    Serving,
    TimeLimits,
)
from engines.user_arguments import extended, own_options
from quant.errors import one_line
from quant.foreign_failures import kind_in

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
POLL_SECONDS = 0.25
HEALTH_SECONDS = 5.0
PORT_ATTEMPTS = 3
SHOWN_PORT = 8000
END_SECONDS = 5.0
ATTACH_SECONDS = 30.0


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
    wanted: Serving,
    options: Mapping[str, Any],
    *,
    log: Path,
    limits: TimeLimits = LIMITS,
) -> Iterator[tuple[Endpoint, Child]]:
    """Start `engine` as `wanted`, wait until it answers, yield it, stop it. Raises ProcessFailed with the log.

    Only a port that another program took meanwhile is tried again, as another one.
    """
    for attempt in range(1, PORT_ATTEMPTS + 1):
        serving = replace(wanted, port=free_port(), api_key=secrets.token_hex(16))
        hide_key(serving.api_key)
        launch = extended(engine.launch(serving, **own_options(options)), options)
        log.unlink(missing_ok=True)
        started = time.monotonic()
        with running(environment.argv(launch.command, launch.environment), launch.environment, log) as child:
            try:
                _wait_until_ready(child, serving, engine.dialect, limits.ready_seconds or launch.ready_timeout_seconds)
            except ProcessFailed as error:
                if error.kind == "port-taken" and attempt < PORT_ATTEMPTS:
                    logger.info("%s: port %d was taken by another process; another is tried", engine.name, serving.port)
                    continue
                raise
            try:
                prepared = _prepare(engine, serving, log)
                endpoint = _endpoint(engine, serving, launch, child, time.monotonic() - started)
                facts = {**endpoint.facts, **prepared, "command": _command(environment, launch, serving)}
                logger.info("%s answers after %.1f s: %s", engine.name, endpoint.startup_seconds, facts["command"])
                yield replace(endpoint, facts=facts, limits=limits), child
            except (ServerFailed, ProcessFailed, httpx.HTTPError) as error:
                if _ends(child, serving, engine.dialect):
                    problem = one_line(error)
                    message = f"the server ended with {child.ending} while it was used ({problem})"
                    kind = "out-of-memory" if child.starved else kind_in(problem) or "crash-in-use"
                    raise ProcessFailed(message, log, kind=kind) from error
                raise
            return


def _command(environment: Environment, launch: Launch, serving: Serving) -> str:
    """What a person types, in whatever folder, to have this server with a port and a key of their own."""
    ours = any(flag == "-m" and module.startswith("engines.") for flag, module in pairwise(launch.command))
    places = {"PYTHONPATH": str(import_folder())} if ours and not environment.is_container else {}
    given = {**places, **launch.environment}
    variables = [f"{name}={shlex.quote(value)}" for name, value in given.items()]
    words = map(shlex.quote, environment.argv(launch.command, launch.environment))
    line = " ".join([*variables, *words]).replace(serving.api_key, "$BITFRONTIER_KEY")
    return re.sub(rf"\b{serving.port}\b", str(SHOWN_PORT), line)


def _ends(child: Child, serving: Serving, dialect: Dialect) -> bool:
    """Whether the server has ended, or does so within END_SECONDS in which it answers no more."""
    deadline = time.monotonic() + END_SECONDS
    while child.returncode is None and time.monotonic() < deadline and not _answers(serving, dialect):
        time.sleep(POLL_SECONDS)
    return child.returncode is not None


def _answers(serving: Serving, dialect: Dialect) -> bool:
    headers = {"Authorization": f"Bearer {serving.api_key}"}
    try:
        url = f"http://{HOST}:{serving.port}{dialect.health}"
        return request("GET", url, headers, seconds=1).status_code == 200
    except httpx.TransportError:
        return False


def _prepare(engine: Engine, serving: Serving, log: Path) -> Mapping[str, str | int | float]:
    if engine.prepare is None:
        return {}
    try:
        return engine.prepare(f"http://{HOST}:{serving.port}", serving, engine.dialect)
    except (ProcessFailed, httpx.HTTPError) as error:
        message = f"{engine.name} could not be made ready: {one_line(error)}"
        raise ProcessFailed(message, log, kind="crash-at-start", explains=True) from error


def attach(engine: Engine, to: Attached, checkpoint: Path, log: Path) -> Endpoint:
    """A server that runs already. Raises ProcessFailed where it does not answer, or not as the engine needs.

    Its key is in the variable that the plan names; `checkpoint` is what it serves. Nothing is started or stopped.
    """
    key = os.environ.get(to.key_variable, "") if to.key_variable else ""
    hide_key(key)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url, dialect = to.url.rstrip("/"), replace(engine.dialect, model=to.model)
    started = time.monotonic()
    facts: dict[str, str | int | float] = {"attached": url}
    try:
        answer = request("GET", url + dialect.health, headers, seconds=ATTACH_SECONDS)
        if answer.status_code != 200:
            message = f"{url}{dialect.health} answered {answer.status_code}: {excerpt(answer.text)}"
            raise ProcessFailed(message, kind="unreachable-server")
        if engine.probe:
            dialect, facts["can"] = engine.probe(url, headers, dialect)
    except httpx.HTTPError as error:
        raise ProcessFailed(f"no server answers at {url}: {one_line(error)}", kind="unreachable-server") from error
    seconds = time.monotonic() - started
    metrics_url = _metrics(url, dialect)
    try:
        if metrics_url:
            read_gauges(metrics_url, headers)
    except (httpx.HTTPError, ValueError):  # closed to us, somewhere else, or not Prometheus' text
        metrics_url = None
    facts[ATTACHED_SERVER] = server_identity(url, headers, metrics_url, to.model)
    endpoint = Endpoint(url, key, None, log, dialect, seconds, facts, metrics_url, checkpoint)
    return replace(endpoint, facts=redacted_texts({**facts, **_gauge_facts(endpoint)}))


def _metrics(url: str, dialect: Dialect) -> str | None:
    return url + dialect.metrics if dialect.metrics else None


def _endpoint(engine: Engine, serving: Serving, launch: Launch, child: Child, startup_seconds: float) -> Endpoint:
    url, dialect = f"http://{HOST}:{serving.port}", engine.dialect
    if dialect.key_field:
        dialect = replace(dialect, request_fields={**dialect.request_fields, dialect.key_field: serving.api_key})
    metrics_url = _metrics(f"http://{HOST}:{launch.metrics_port or serving.port}", dialect)
    endpoint = Endpoint(
        url=url,
        api_key=serving.api_key,
        pid=child.guard.pid,
        log=child.log,
        dialect=dialect,
        startup_seconds=startup_seconds,
        facts={**launch.facts, **engine.read_facts(read_log(child.log))},
        metrics_url=metrics_url,
        tokenizer=serving.checkpoint,
    )
    return replace(endpoint, facts={**endpoint.facts, **_gauge_facts(endpoint)})


def _gauge_facts(endpoint: Endpoint) -> dict[str, float]:
    """What the server tells of itself in gauges rather than in its log. A gauge that is absent is no fact."""
    wanted = endpoint.dialect.fact_gauges
    if not wanted or not endpoint.metrics_url:
        return {}
    gauges = read_gauges(endpoint.metrics_url, endpoint.headers)
    return {fact: gauges[name] * factor for fact, (name, factor) in wanted.items() if name in gauges}


def _wait_until_ready(child: Child, serving: Serving, dialect: Dialect, limit_seconds: float) -> None:
    deadline = time.monotonic() + limit_seconds
    url = f"http://{HOST}:{serving.port}{dialect.health}"
    headers = {"Authorization": f"Bearer {serving.api_key}"}
    while time.monotonic() < deadline:
        if child.returncode is not None:
            message = f"the server ended with {child.ending} before it was ready"
            raise ProcessFailed(message, child.log, kind="out-of-memory" if child.starved else "crash-at-start")
        with contextlib.suppress(httpx.TransportError):
            if request("GET", url, headers, seconds=HEALTH_SECONDS).status_code == 200:
                return
        time.sleep(POLL_SECONDS)
    message = f"the server was not ready after {limit_seconds:.0f} s (`time_limits: ready_seconds`)"
    raise ProcessFailed(message, child.log, kind="timeout")
