"""Does a sweep survive being killed? `python -m benchmarks.kills [KILLS] [SEED]`: a real sweep, whole and disturbed.

`configs/kills-cpu.yaml` runs undisturbed, then with a cache of its own in which it is killed (SIGKILL) at random
moments, in turn: the process of the sweep; a Prefect worker that runs it as a deployment, with all that it started, as
when a machine dies; one of the children that quantize or serve; the process aside, in which cells are measured. After
each: is a process, a port or a device left behind, was a finished part of a trial (each visit of a round is some) or a
checkpoint written again? A sweep that got to its end is held against the undisturbed one, no visit of its rounds may be
missing or double, and the next kills are another's. Exits 1 where anything is wrong.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from engines.runtime.cache import cache_folder
from engines.runtime.own_packages import ROOT
from engines.runtime.server import HOST, free_port
from evals.schema.accuracy import Score
from evals.schema.race_file import read_race
from evals.schema.trial import Trial
from evals.schema.trial_file import read_trial
from flows.cli.retry import drop_failed
from flows.state.locks import is_held, slot_lock
from reports.rounds.speeds import visits_of

PLAN = "configs/kills-cpu.yaml"
SHARED = ("environments", "models", "data", "wheels", "tasks", "bandwidth")  # made before, no part of the question
MOMENTS_SECONDS = (2.0, 75.0)
GONE_SECONDS = 30.0
# llama-server computes prompts in batches of what has just come: of 40 last words one may be 0.08 nats off, undisturbed
# too. Two answers in each other's place would be nats off, which is more than this in the mean over a task.
NATS = 0.02


@dataclass(frozen=True)
class Place:
    """A folder with a cache, runs and Prefect's files of its own."""

    folder: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "kills-cpu"

    @property
    def variables(self) -> dict[str, str]:
        own = {"BITFRONTIER_CACHE": str(self.cache), "PREFECT_HOME": str(self.folder / "prefect")}
        return {**os.environ, **own, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}

    def processes(self) -> list[psutil.Process]:
        """All that was started for this place and lives."""
        return [process for process in psutil.process_iter() if self._belongs(process)]

    def _belongs(self, process: psutil.Process) -> bool:
        try:
            return (
                process.environ().get("BITFRONTIER_CACHE") == str(self.cache)
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return False

    def finished(self) -> dict[Path, int]:
        """When each part of a trial and each checkpoint was written; gates are passed anew by each server of a cell."""
        parts = [file for file in self.run.glob("parts/*.json") if json.loads(file.read_bytes())["name"] != "gates"]
        files = [*parts, *self.cache.glob("checkpoints/*/bitfrontier-checkpoint.json")]
        return {file: file.stat().st_mtime_ns for file in files}


def make_place(folder: Path, shared: Iterable[str] = SHARED) -> Place:
    """With links to what is `shared` of this machine's cache."""
    place = Place(folder)
    place.cache.mkdir(parents=True)
    for name in shared:
        if (cache_folder() / name).exists():
            (place.cache / name).symlink_to(cache_folder() / name)
    return place


def bitfrontier(place: Place, *arguments: str) -> subprocess.Popen[bytes]:
    with (place.folder / "out.log").open("ab") as log:
        command = [sys.executable, "-m", "flows.cli", *arguments]
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=place.variables)


def sweep(place: Place) -> subprocess.Popen[bytes]:
    """Start, or go on with, the sweep; its failed cells are measured again."""
    return bitfrontier(place, "sweep", PLAN, "--runs", str(place.folder / "runs"), "--retry-failed")


def kill_sweep(place: Place, moment_seconds: float) -> str | None:
    """The process of the sweep alone: what it started must go by itself."""
    with sweep(place) as process:
        if _wait(moment_seconds, lambda: process.poll() is not None):
            return None
        process.kill()
    return "sweep"


def kill_child(place: Place, moment_seconds: float) -> str | None:
    """A process that quantizes or serves: its cell must become a row, and the sweep go on. Then Ctrl-C."""
    return _kill_one(place, moment_seconds, "child", lambda words: "flows.execute.worker_process" not in words)


def kill_aside(place: Place, moment_seconds: float) -> str | None:
    """The process in which cells are measured, likewise: the next cell must get another."""
    return _kill_one(place, moment_seconds, "aside", lambda words: "flows.execute.worker_process" in words)


def _kill_one(place: Place, moment_seconds: float, name: str, wanted: Callable[[list[str]], bool]) -> str | None:
    with sweep(place) as process:
        _wait(moment_seconds, lambda: process.poll() is not None)
        if (
            not _wait(60.0, lambda: process.poll() is not None or _child(place, wanted) is not None)
            or process.poll() is not None
        ):
            return None
        victim, failed = _child(place, wanted), len(failures(place))
        if victim is not None:
            victim.kill()
        _wait(60.0, lambda: len(failures(place)) > failed)
        process.send_signal(signal.SIGINT)
        process.wait()
        return f"{name}: {len(failures(place)) - failed} failed, exit {process.returncode}"


def failures(place: Place) -> list[str]:
    """Trials that failed, and keys of cells of which a later visit did."""
    race = read_race(place.run)
    failed = [name for name, trial in trials(place).items() if trial.status == "failed"]
    return failed + [left.key for left in race.left if left.failed] if race else failed


def _child(place: Place, wanted: Callable[[list[str]], bool]) -> psutil.Process | None:
    return next((process for process in place.processes() if _is_child(process, wanted)), None)


def _is_child(process: psutil.Process, wanted: Callable[[list[str]], bool]) -> bool:
    try:
        words, guarded = process.cmdline(), process.parent()
        ours = guarded is not None and "engines.runtime.supervisor" in guarded.cmdline() and "uvicorn" not in words
        return ours and "engines.runtime.supervisor" not in words and wanted(words)
    except psutil.Error:
        return False


def kill_worker(place: Place, moment_seconds: float) -> str | None:
    """A Prefect worker with all below it, as when its machine dies. Failed cells are to be measured again."""
    drop_failed(place.run)
    with server(place) as url:
        variables = {**place.variables, "PREFECT_API_URL": url}
        prefect = [sys.executable, "-m", "prefect"]
        with (place.folder / "prefect.log").open("ab") as log:
            for arguments in (
                ["work-pool", "create", "bitfrontier", "--type", "process", "--overwrite"],
                ["--no-prompt", "deploy", "--all"],
                [
                    "deployment",
                    "run",
                    "sweep/quickstart",
                    "--param",
                    f"plan={PLAN}",
                    "--param",
                    f"runs={place.folder / 'runs'}",
                ],
            ):
                subprocess.run([*prefect, *arguments], cwd=ROOT, env=variables, stdout=log, stderr=log, check=True)
            command = [*prefect, "worker", "start", "--pool", "bitfrontier"]
            worker = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)
        complete_already = _wait(moment_seconds, lambda: is_complete(place))
        family = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
        for member in family:
            member.kill()
        worker.wait()
    return None if complete_already else f"worker and {len(family) - 1} below it"


@contextmanager
def server(place: Place, port: int | None = None, address: str = HOST) -> Iterator[str]:
    """Prefect's server, as a person starts it."""
    port = port or free_port()
    url = f"http://{HOST}:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", address, "--port", str(port), "--no-ui"]
    with (place.folder / "prefect.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=place.variables, stdout=log, stderr=log)
    try:
        _wait(180.0, lambda: _answers(f"{url}/health"))
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def _wait(seconds: float, until: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if until():
            return True
        time.sleep(0.2)
    return until()


def wrongs(place: Place, before: dict[Path, int]) -> list[str]:
    """What a kill left behind, or what was done again since `before`."""
    faults = []
    if not _wait(GONE_SECONDS, lambda: not place.processes()):
        left = [" ".join(process.cmdline())[:60] for process in place.processes()]
        faults.append(f"{len(left)} processes left: {left}")
    ports = [c for process in place.processes() for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    faults += [f"{len(ports)} ports left"] if ports else []
    held = [path.name for path in [slot_lock("cpu"), *place.run.rglob("*.lock")] if is_held(path)]
    faults += [f"held: {held}"] if held else []
    now = place.finished()
    again = [file.name for file, written in before.items() if now.get(file) != written]
    return faults + ([f"done again: {again}"] if again else [])


def trials(place: Place) -> dict[str, Trial]:
    return {file.name: read_trial(file) for file in place.run.glob("trials/*.json")}


def visit_faults(place: Place) -> list[str]:
    """Visits that the race's orders have and a trial has not, or has twice, or that no order has."""
    race = read_race(place.run)
    if race is None or race.ended is None:
        return ["its race has not ended"]
    wanted = {(name, number) for number, order in enumerate(race.orders, 2) for name in order}
    seen: Counter[tuple[str, int]] = Counter()
    for file, trial in trials(place).items():
        name = f"{trial.name}, control" if file.startswith("control-") else trial.name
        seen.update((name, visit.round) for visit in visits_of(trial))
        repeats = Counter(number for speed in trial.speed for number in speed.rounds if number > 1)
        if any(count != len(trial.speed) for count in repeats.values()):
            seen.update([(f"{name}: {dict(repeats)} repeats by round", 0)])
    faults = [
        f"{name}, round {number}: {seen[name, number]} visits" for name, number in wanted if seen[name, number] != 1
    ]
    return faults + [f"{name}, round {number}: of no order" for name, number in seen if (name, number) not in wanted]


def differences(undisturbed: Place, disturbed: Place) -> list[str]:
    """What differs between two runs besides times and speeds."""
    ours, theirs = trials(disturbed), trials(undisturbed)
    differing = [f"other cells: {sorted(set(ours) ^ set(theirs))}"] if set(ours) != set(theirs) else []
    differing += visit_faults(disturbed)
    for name in set(ours) & set(theirs):
        trial, other = ours[name], theirs[name]
        if (trial.status, trial.reason) != (other.status, other.reason):
            differing.append(f"{name}: {trial.status} {trial.reason[:200]}, not {other.status}")
            continue
        if (trial.checkpoint or {}).get("content_sha256") != (other.checkpoint or {}).get("content_sha256"):
            differing.append(f"{name}: another checkpoint")
        differing += [
            f"{name} {a.task}: other answers" for a, b in zip(trial.scores, other.scores, strict=True) if not same(a, b)
        ]
    made = [
        sorted(p.name for p in place.cache.glob("checkpoints/*") if p.is_dir()) for place in (undisturbed, disturbed)
    ]
    return differing + ([f"checkpoints {made[1]}, not {made[0]}"] if made[0] != made[1] else [])


def same(score: Score, other: Score) -> bool:
    """The same items with the same right and wrong answers, and log-likelihoods that are NATS apart in the mean."""
    if score.item_keys != other.item_keys:
        return False
    answers, nats = apart(score.values, other.values), apart(score.loglikelihoods, other.loglikelihoods)
    return max(answers) < 0.5 and statistics.mean(nats) <= NATS


def apart(first: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> list[float]:
    return [abs(x - y) for a, b in zip(first, other, strict=True) for x, y in zip(a, b, strict=True)]


def is_complete(place: Place) -> bool:
    file = place.run / "sweep.json"
    race = read_race(place.run)
    if not file.exists() or failures(place) or race is None or race.ended is None:
        return False
    return set(json.loads(file.read_text())["trials"]) <= set(trials(place))


def complete(place: Place) -> float:
    """Run the sweep to its end; returns the seconds. Raises where it fails."""
    started = time.monotonic()
    with sweep(place) as process:
        code = process.wait()
    if code != 0:
        raise SystemExit(f"the sweep ended with exit code {code}:\n{(place.folder / 'out.log').read_text()[-3000:]}")
    return time.monotonic() - started


def main() -> int:
    kills, seed = int(sys.argv[1]) if len(sys.argv) > 1 else 20, int(sys.argv[2]) if len(sys.argv) > 2 else 0
    work = Path(tempfile.mkdtemp(prefix="kills-"))
    undisturbed = make_place(work / "whole")
    print(f"undisturbed: {complete(undisturbed):.0f} s, {len(trials(undisturbed))} cells; seed {seed}", flush=True)
    print(f"{'':>3} {'killed':<28} {'after s':>8} {'finished before, after':>22}  wrong", flush=True)
    draw, number, wrong, rounds = random.Random(seed), 0, 0, 0
    while number < kills:
        rounds += 1
        number, faults = disturb(make_place(work / f"round-{rounds}"), undisturbed, draw, number, kills)
        wrong += faults
    print(f"{kills} kills of {rounds} sweeps, {wrong} things wrong")
    if not wrong:
        shutil.rmtree(work)
    return 1 if wrong else 0


def disturb(place: Place, undisturbed: Place, draw: random.Random, number: int, kills: int) -> tuple[int, int]:
    """Kill one sweep until it is complete, or all kills are done: how many were done then, how much was wrong."""
    wrong = 0
    while number < kills and not is_complete(place):
        before, moment = place.finished(), draw.uniform(*MOMENTS_SECONDS)
        killed = KINDS[number % len(KINDS)](place, moment)
        faults, after = wrongs(place, before), place.finished()
        wrong += len(faults)
        if killed:
            number += 1
            counts = f"{len(before)}, {len(after)}"
            print(f"{number:>3} {killed:<28} {moment:>8.1f} {counts:>22}  {'; '.join(faults) or '-'}", flush=True)
    before = place.finished()
    seconds = complete(place)
    faults = wrongs(place, before) + differences(undisturbed, place)
    print(f"    resumed to its end in {seconds:.0f} s: {'; '.join(faults) or 'as undisturbed, nothing left behind'}")
    return number, wrong + len(faults)


KINDS: tuple[Callable[[Place, float], str | None], ...] = (kill_sweep, kill_worker, kill_child, kill_aside)

if __name__ == "__main__":
    sys.exit(main())
