"""Does a sweep survive a lost worker? `python -m benchmarks.two_workers [STORE] [--namespaces] [--in-round]`: of two,
one is killed.

They have work folders of their own and one shared store (a folder, or an address such as `s3://bucket`), and share
the cells of `configs/kills-cpu.yaml` and the rounds of its race; `--only GLOB` leaves some of the cells. One gets
SIGKILL, with all below it, while it measures, with `--in-round` while it visits a round; then Prefect's server is away
for a while. With `--namespaces` (needs root and iproute2) each worker has a network namespace of its own and reaches
the server over a veth pair alone. Prints who did what; exits 1 where the sweep is not complete, nothing was
rescheduled, a cell was measured to its end by both, or a visit is missing or double.
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

from benchmarks.kills import PLAN, Place, is_complete, make_place, server, trials, visit_faults
from engines.runtime.own_packages import ROOT
from engines.runtime.server import HOST, free_port
from evals.schema.race_file import RACE_FILE
from evals.schema.trial_file import read_trial
from flows.state.locks import is_held
from reports.rounds.speeds import blocks_of

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


def start_sweep(place: Place, url: str, store: str, only: Sequence[str]) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from flows.orchestration.sweep import sweep; "
        "print(sweep(plan=sys.argv[1], runs=sys.argv[2], store=sys.argv[3], changes={'only': sys.argv[4:]}))"
    )
    command = [sys.executable, "-c", code, PLAN, str(place.folder / "runs"), store, *only]
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


def measured(place: Place) -> dict[str, str]:
    """Which process measured each cell whose trial this worker has; a baseline may have come from the store."""
    files = (place.cache / "cells").rglob("trials/*.json")
    return {path.name: read_trial(path).provenance["measured"]["session"] for path in files}


def rescheduled(url: str) -> list[str]:
    """What had more than one run."""
    wanted = {"flow_runs": {"deployment_id": {"is_null_": False}}, "limit": 200}
    runs = httpx.post(f"{url}/flow_runs/filter", json=wanted, timeout=30).raise_for_status().json()
    return [name for name, count in Counter(run["name"] for run in runs).items() if count > 1]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("store", nargs="?")
    parser.add_argument("--namespaces", action="store_true")
    parser.add_argument("--in-round", action="store_true")
    parser.add_argument("--only", action="append", default=[], metavar="GLOB")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="two-workers-"))
    store = arguments.store or str(work / "store")
    with ExitStack() as namespaces:
        apart = namespaces if arguments.namespaces else None
        return disturb(work, store, apart, arguments.only, in_round=arguments.in_round)


def disturb(work: Path, store: str, namespaces: ExitStack | None, only: Sequence[str], *, in_round: bool) -> int:
    home, places = make_place(work / "home"), [make_place(work / name) for name in ("one", "two")]
    started, port, address = time.monotonic(), free_port(), EVERY_ADDRESS if namespaces else HOST
    with server(home, port, address) as url:
        prepare_server(home, url)
        workers = start_workers(places, port, namespaces)
        sweep = start_sweep(home, f"http://{HOST}:{port}/api", store, only)
        lost = _first(places, sweep, home.run / RACE_FILE if in_round else work)
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


def _first(places: list[Place], sweep: subprocess.Popen[bytes], begun: Path) -> int | None:
    """Which worker is the first to measure once the file `begun` is there."""
    while sweep.poll() is None:
        for number, place in enumerate(places):
            if begun.exists() and measures(place):
                return number
        time.sleep(0.5)
    return None


def conclude(home: Place, places: list[Place], code: int, twice: list[str], seconds: float) -> bool:
    """True where the sweep ended as it should."""
    states = Counter(trial.status for trial in trials(home).values())
    print(f"{seconds:.0f} s: the sweep ended with exit code {code}; {dict(states)}; rescheduled: {twice}")
    done, other = (measured(place) for place in places)
    both = [name for name in done.keys() & other.keys() if done[name] != other[name]]
    print(f"measured to the end by both: {sorted(both) or 'none'}")
    visits = Counter(block for trial in trials(home).values() for block in blocks_of(trial).values() if block[0] > 1)
    for (number, _, session), count in sorted(visits.items()):
        print(f"round {number}: {count} visits by process {session}")
    faults = visit_faults(home)
    print(f"visits that are missing or double: {faults or 'none'}")
    return code == 0 and is_complete(home) and not both and bool(twice) and not faults


if __name__ == "__main__":
    sys.exit(main())
