"""Does a sweep survive a lost worker? `python -m benchmarks.two_workers [STORE]`: two workers, one of them killed.

They have work folders of their own and one shared store (a folder, or an address such as `s3://bucket`), and share
the cells of `configs/kills-cpu.yaml`. One gets SIGKILL, with all below it, while it measures; then Prefect's server is
away for a while. Prints who did what; exits 1 where the sweep is not complete, nothing was handed out again, or a cell
was measured to its end by both.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from benchmarks.kills import PLAN, Place, is_complete, make_place, server, trials
from engines.runtime.own_packages import ROOT
from engines.runtime.server import free_port
from flows.distributed.object_store import open_store
from flows.state.locks import is_held
from flows.state.status import running_lock

PREFECT = [sys.executable, "-m", "prefect"]
POOL = "bitfrontier-cpu"
MEANWHILE_SECONDS = 10.0
AWAY_SECONDS = 20.0


def start_worker(place: Place, url: str) -> subprocess.Popen[bytes]:
    variables = {**place.variables, "PREFECT_API_URL": url, "PREFECT_WORKER_QUERY_SECONDS": "2"}
    with (place.folder / "worker.log").open("ab") as log:
        command = [*PREFECT, "worker", "start", "--pool", POOL, "--limit", "1", "--name", place.folder.name]
        return subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)


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


def main() -> int:
    work = Path(tempfile.mkdtemp(prefix="two-workers-"))
    home, places = make_place(work / "home"), [make_place(work / name) for name in ("one", "two")]
    store = sys.argv[1] if len(sys.argv) > 1 else str(work / "store")
    started, port = time.monotonic(), free_port()
    with server(home, port) as url:
        variables = {**home.variables, "PREFECT_API_URL": url}
        for arguments in (
            ["work-pool", "create", POOL, "--type", "process"],
            ["work-pool", "create", "bitfrontier-cuda", "--type", "process"],
            ["--no-prompt", "deploy", "--all", "--prefect-file", "prefect-workers.yaml"],
        ):
            subprocess.run([*PREFECT, *arguments], cwd=ROOT, env=variables, check=True, capture_output=True)
        workers = [start_worker(place, url) for place in places]
        sweep = start_sweep(home, url, store)
        lost = _first(places, sweep)
        if lost is not None:
            time.sleep(MEANWHILE_SECONDS)
            count = kill_family(workers[lost])
            seconds = time.monotonic() - started
            print(f"{seconds:.0f} s: killed worker {places[lost].folder.name} and {count - 1} below it", flush=True)
            time.sleep(MEANWHILE_SECONDS)
    time.sleep(AWAY_SECONDS)
    with server(home, port):
        print(f"{time.monotonic() - started:.0f} s: Prefect's server is there again", flush=True)
        sweep.wait()
        for worker in workers:
            if worker.poll() is None:
                kill_family(worker)
    return conclude(home, places, store, sweep.returncode, time.monotonic() - started, work)


def _first(places: list[Place], sweep: subprocess.Popen[bytes]) -> int | None:
    """Which worker is the first to measure."""
    while sweep.poll() is None:
        for number, place in enumerate(places):
            if measures(place):
                return number
        time.sleep(0.5)
    return None


def conclude(home: Place, places: list[Place], store: str, code: int, seconds: float, work: Path) -> int:
    shared = open_store(store)
    attempts = Counter(Path(beat).name.split(".")[0] for beat in shared.files.find(f"{shared.root}/beats"))
    twice = [name for name, count in attempts.items() if count > 1]
    states = Counter(trial.status for trial in trials(home).values())
    print(f"{seconds:.0f} s: the sweep ended with exit code {code}; {dict(states)}; handed out again: {len(twice)}")
    done = [measured(place) for place in places]
    both = done[0] & done[1]
    for place, names in zip(places, done, strict=True):
        print(f"worker {place.folder.name}: {len(names)} cells measured to the end")
    print(f"measured to the end by both: {sorted(both) or 'none'}")
    good = code == 0 and is_complete(home) and not both and twice
    if good:
        shutil.rmtree(work)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
