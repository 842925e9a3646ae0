"""`bitfrontier doctor --site`: what of a site's settings stands in the way. What needs nothing done has no line."""

from __future__ import annotations

import fcntl
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import psutil

from engines.addresses import without_credentials
from engines.bounded_http import request
from engines.runtime.cache import NotWritable, create_cache
from engines.runtime.installing.pip_config import main_index, pip_settings
from engines.telemetry.device import available_cores, memory_limit
from flows.cli.doctor.installation import Finding
from flows.cli.network_variables import UnusableVariable, check_network_variables

ENOUGH_FILES = 4096
ANSWER_SECONDS = 6.0
CLOCK_SECONDS = 120.0  # signed requests of object stores, and of the hub's, are refused a few minutes off
HUB = "https://huggingface.co"


def examine_site(runs: Path) -> list[Finding]:
    """Proxies and certificates, terminal, limits, file systems, hub, package index and clock."""
    return [*_shell(), *_limits(), *_files(runs), *_addresses()]


def _shell() -> Iterator[Finding]:
    try:
        check_network_variables()
    except UnusableVariable as error:
        wrong, _, remedy = str(error).partition(". ")
        yield Finding("proxies and certificates", "broken", wrong, remedy)
    encoding = (sys.stdout.encoding or "ascii").lower().replace("_", "-")
    if encoding not in ("utf-8", "utf8"):
        detail = f"its encoding is {encoding}: other characters are shown as question marks"
        yield Finding("terminal", "missing", detail, "set LC_ALL=C.UTF-8, if the terminal supports it")


def _limits() -> Iterator[Finding]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < ENOUGH_FILES:
        detail = f"at most {hard} at once (ulimit -Hn): enough for {hard // 4} users of a load"
        yield Finding("open files", "missing", detail, "raise the hard limit, or plan fewer users")
    cores, here = available_cores(), psutil.cpu_count() or 1
    if cores < here:
        detail = f"{cores:g} of the machine's {here} (affinity or cgroup); `threads: auto` takes {max(1, int(cores))}"
        yield Finding("cores", "missing", detail, "nothing, if you want to measure with these")
    memory, total = memory_limit(), psutil.virtual_memory().total
    if memory < total:
        detail = f"{memory / 1e9:.1f} of the machine's {total / 1e9:.1f} GB (cgroup)"
        yield Finding("memory", "missing", detail, "nothing, if models fit. Otherwise raise the container's limit")


def _files(runs: Path) -> Iterator[Finding]:
    try:
        folders = {"cache folder": create_cache()}
    except NotWritable as error:
        yield Finding("cache folder", "broken", str(error), "set BITFRONTIER_CACHE to a folder that you may write to")
        folders = {}
    if runs.is_dir():
        folders["folder of runs"] = runs
    for subject, folder in folders.items():
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            detail = f"{folder} does not support file locks: {error.strerror}"
            yield Finding(subject, "broken", detail, "move it to a local disk, or mount the share with locks")


def _addresses() -> Iterator[Finding]:
    """The hub and the package index are asked for their first page; the clock is held against what they say."""
    index = main_index(pip_settings())
    hub = os.environ.get("HF_ENDPOINT") or HUB
    remedies = {
        "hub": (hub.rstrip("/") + "/", "nothing, if models and data are local. Otherwise set a proxy or HF_ENDPOINT"),
        "package index": (
            index.rstrip("/") + "/pip/",
            "nothing, if environments are built. Otherwise set a proxy or index-url",
        ),
    }
    for subject, (address, remedy) in remedies.items():
        shown = without_credentials(address)
        try:
            answer = request("HEAD", address, {}, seconds=ANSWER_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:  # OSError: certificates, proxies
            yield Finding(subject, "missing", f"{shown} does not answer: {type(error).__name__}", remedy)
            continue
        if answer.status_code >= 400:
            yield Finding(subject, "missing", f"{shown} answers HTTP {answer.status_code}", remedy)
        yield from _clock(answer.headers.get("date"), shown)


def _clock(date: str | None, where: str) -> Iterator[Finding]:
    try:
        off = time.time() - parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return
    if abs(off) > CLOCK_SECONDS:
        detail = f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} that of {where}"
        yield Finding("clock", "broken", detail, "set it (chrony, ntpd): certificates and signed requests depend on it")
