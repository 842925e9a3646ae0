"""Does a sweep survive a lost worker? `python -m benchmarks.two_workers [STORE] [--namespaces]`: two, one is killed.

They have work folders of their own and one shared store (a folder, or an address such as `s3://bucket`), and share
the cells of `configs/kills-cpu.yaml`. One gets SIGKILL, with all below it, while it measures; then Prefect's server is
away for a while. With `--namespaces` (needs root and iproute2) each worker has a network namespace of its own and
reaches the server over a veth pair alone. Prints who did what; exits 1 where the sweep is not complete, nothing was
rescheduled, or a cell was measured to its end by both.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil

from benchmarks.kills import PLAN, Place, is_complete, make_place, server, trials
from engines.runtime.own_packages import ROOT
from engines.runtime.server import HOST, free_port
from flows.state.locks import is_held
from flows.state.status import running_lock

PREFECT = [sys.executable, "-m", "prefect"]
POOL = "bitfrontier-cpu"
MEANWHILE_SECONDS = 10.0
AWAY_SECONDS = 20.0
EVERY_ADDRESS = "0.0.0.0"  # the workers' namespaces reach the server at addresses of their own


@contextmanager
def network_namespace(name: str, number: int) -> Iterator[str]:
    """A network namespace with nothing but a veth pair to here; gives our address on it. Needs root."""
    ours, theirs = f"{name}-out", f"{name}-in"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        _ip("address", "add", f"10.213.{number}.1/24", "dev", ours)
        _ip("link", "set", ours, "up")
        _ip("-n", name, "address", "add", f"10.213.{number}.2/24", "dev", theirs)
        _ip("-n", name, "link", "set", theirs, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield f"10.213.{number}.1"
    finally:
        _ip("netns", "delete", name)  # and the pair with it


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def start_worker(place: Place, url: str, inside: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """`inside` is put before the command."""
    variables = {**place.variables, "PREFECT_API_URL": url, "PREFECT_WORKER_QUERY_SECONDS": "2"}
    with (place.folder / "worker.log").open("ab") as log:
        command = [*inside, *PREFECT, "worker", "start", "--pool", POOL, "--limit", "1", "--name", place.folder.name]
        return subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)


def start_workers(places: Sequence[Place], port: int, namespaces: ExitStack | None) -> list[subprocess.Popen[bytes]]:
    if namespaces is None:
        return [start_worker(place, f"http://{HOST}:{port}/api") for place in places]
    workers = []
    for number, place in enumerate(places):
        name = f"bf-{place.folder.name}"
        address = namespaces.enter_context(network_namespace(name, number))
        workers.append(start_worker(place, f"http://{address}:{port}/api", ("ip", "netns", "exec", name)))
    return workers


def start_sweep(place: Place, url: str, store: str) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from flows.orchestration.sweep import sweep; "
        "print(sweep(plan=sys.argv[1], runs=sys.argv[2], store=sys.argv[3]))"
    )
    command = [sys.executable, "-c", code, PLAN, str(place.folder / "runs"), store]
    variables = {**place.variables, "PREFECT_API_URL": url}
    with (place.folder / "out.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)


def measures(place: Place) -> bool:
    """True while a worker of this place measures a cell."""
    return any(is_held(path) for path in (place.cache / "cells").rglob("running/*.lock"))


def kill_family(process: subprocess.Popen[bytes]) -> int:
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    process.wait()
    return len(family)


def measured(place: Place) -> set[str]:
    """The cells that this worker measured to their end; a baseline may have been brought from the store."""
    files = (place.cache / "cells").rglob("trials/*.json")
    return {path.name for path in files if running_lock(path).exists()}


def rescheduled(url: str) -> list[str]:
    """What had more than one run."""
    wanted = {"flow_runs": {"deployment_id": {"is_null_": False}}, "limit": 200}
    runs = httpx.post(f"{url}/flow_runs/filter", json=wanted, timeout=30).raise_for_status().json()
    return [name for name, count in Counter(run["name"] for run in runs).items() if count > 1]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", nargs="?")
    parser.add_argument("--namespaces", action="store_true")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="two-workers-"))
    with ExitStack() as namespaces:
        return disturb(work, arguments.store or str(work / "store"), namespaces if arguments.namespaces else None)


def disturb(work: Path, store: str, namespaces: ExitStack | None) -> int:
    home, places = make_place(work / "home"), [make_place(work / name) for name in ("one", "two")]
    started, port, address = time.monotonic(), free_port(), EVERY_ADDRESS if namespaces else HOST
    with server(home, port, address) as url:
        prepare_server(home, url)
        workers = start_workers(places, port, namespaces)
        sweep = start_sweep(home, f"http://{HOST}:{port}/api", store)
        lost = _first(places, sweep)
        if lost is not None:
            time.sleep(MEANWHILE_SECONDS)
            count = kill_family(workers[lost])
            seconds = time.monotonic() - started
            print(f"{seconds:.0f} s: killed worker {places[lost].folder.name} and {count - 1} below it", flush=True)
            time.sleep(MEANWHILE_SECONDS)
    time.sleep(AWAY_SECONDS)
    with server(home, port, address) as url:
        print(f"{time.monotonic() - started:.0f} s: Prefect's server is there again", flush=True)
        sweep.wait()
        twice = rescheduled(url)
        for worker in workers:
            if worker.poll() is None:
                kill_family(worker)
    good = conclude(home, places, sweep.returncode, twice, time.monotonic() - started)
    if good:
        shutil.rmtree(work)
    return 0 if good else 1


def prepare_server(home: Place, url: str) -> None:
    variables = {**home.variables, "PREFECT_API_URL": url}
    for arguments in (
        ["work-pool", "create", POOL, "--type", "process"],
        ["work-pool", "create", "bitfrontier-cuda", "--type", "process"],
        ["--no-prompt", "deploy", "--all", "--prefect-file", "prefect-workers.yaml"],
    ):
        subprocess.run([*PREFECT, *arguments], cwd=ROOT, env=variables, check=True, capture_output=True)


def _first(places: list[Place], sweep: subprocess.Popen[bytes]) -> int | None:
    """Which worker is the first to measure."""
    while sweep.poll() is None:
        for number, place in enumerate(places):
            if measures(place):
                return number
        time.sleep(0.5)
    return None


def conclude(home: Place, places: list[Place], code: int, twice: list[str], seconds: float) -> bool:
    """True where the sweep ended as it should."""
    states = Counter(trial.status for trial in trials(home).values())
    print(f"{seconds:.0f} s: the sweep ended with exit code {code}; {dict(states)}; rescheduled: {len(twice)}")
    done = [measured(place) for place in places]
    both = done[0] & done[1]
    for place, names in zip(places, done, strict=True):
        print(f"worker {place.folder.name}: {len(names)} cells measured to the end")
    print(f"measured to the end by both: {sorted(both) or 'none'}")
    return code == 0 and is_complete(home) and not both and bool(twice)


if __name__ == "__main__":
    sys.exit(main())
