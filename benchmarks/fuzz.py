"""Hostile and damaged inputs through the command line: `python -m benchmarks.fuzz [--count N] [--kind K --number N]`.

The same seed draws the same inputs. Every input runs `flows.cli.commands.main` with its arguments in a process of its
own, forked from one that has imported the program: starting Python and importing take some 2 s of CPU, and would be
most of what is measured. Figures of reports are drawn in that process, not in another one that imports matplotlib.

An input passes if the program ends with 0 or 2 (1 where the command says so: a worse cell, a broken
environment), shows no traceback and no escape sequence, takes at most 3 s of CPU (in one of two tries) and
512 MiB of resident memory, and touches nothing but its cache and what it is told to write.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import importlib
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.hostile import models, plans, runs
from benchmarks.hostile.case import Case, Kind
from benchmarks.hostile.places import OUTSIDE

COUNT, SEED = 5000, 24
CPU_SECONDS, RESIDENT_BYTES = 3.0, 512 * 2**20
HARD_CPU_SECONDS, HARD_SECONDS, HARD_BYTES = 10, 30, 2**31  # what is ended, so that nothing hangs or fills the machine
KINDS: Mapping[str, Kind] = {
    "damaged runs": runs.damaged_runs,
    "runs of any shape": runs.random_values,
    "markup, escapes in runs": runs.names_in_runs,
    "results of other tools": runs.foreign_results,
    "damaged caches": runs.damaged_caches,
    "arguments": runs.arguments,
    "YAML at its edges": plans.yaml_edges,
    "plans of damaged bytes": plans.yaml_bytes,
    "shipped plans, one value changed": plans.shipped_plans,
    "bad plans, one value changed": plans.bad_plans,
    "values out of range": plans.out_of_range,
    "markup, escapes, paths in plans": plans.hostile_texts,
    "paths in plans": models.named_files,
    "texts, prompts, data": models.named_texts,
    "model folders": models.models,
    "checkpoints, GGUF, XML": models.checkpoints,
    "traces": models.traces,
}
MAY_FAIL = ("compare", "doctor")  # their exit code 1 is an answer
FAULTS = ("other exit", "traceback", "too slow", "too large", "touched", "escapes")
VARIABLES = {
    "HF_HUB_OFFLINE": "1",
    "HF_ENDPOINT": "http://127.0.0.1:9",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # a forked process has the calling thread alone
}
Listing = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Outcome:
    """How one input ended; `faults` are of FAULTS."""

    code: int
    cpu_seconds: float
    resident_bytes: int
    output: str
    faults: tuple[str, ...]


class Zygote:
    """A process that has imported the program, and forks itself for each input. `root` holds all that it writes."""

    def __init__(self, root: Path) -> None:
        self.root, self.template = root, root / "template"
        for name in ("home", OUTSIDE):
            (root / name).mkdir()
        (root / OUTSIDE / "file").write_text("untouched\n")
        os.environ |= {**VARIABLES, "HOME": str(root / "home"), "BITFRONTIER_LOCKS": str(root / "locks")}
        os.environ.pop("XDG_CACHE_HOME", None)
        self._import_program()
        self._write_template()
        for arguments in (
            "plan plan.yaml",
            "plan quickstart",
            "report run",
            "compare run sound",
            "gc --json",
            "doctor",
        ):
            self._import_what_it_imports(tuple(arguments.split()))

    def _import_program(self) -> None:
        importlib.import_module("flows.cli.__main__")
        page, drawing = map(importlib.import_module, ("reports.output.html_report", "tests.support.drawing"))

        warnings.filterwarnings("ignore", "Glyph")  # of the figure, which are not shown where it is drawn beside

        @contextlib.contextmanager
        def first_drawn(folder: Path) -> Iterator[Callable[[Sequence[Any]], Callable[[], dict[str, str]]]]:
            def of_first(charts: Sequence[Any]) -> Callable[[], dict[str, str]]:
                pictures = draw(charts[:1])()
                return lambda: {**{chart.name: "" for chart in charts}, **pictures}

            with drawing.drawn_here(folder) as draw:
                yield of_first

        page.drawn_beside = first_drawn  # type: ignore[attr-defined]

    def _write_template(self) -> None:
        """What most inputs begin with: a good plan, its model and text, two sound runs."""
        import yaml

        from tests.support.bad_plans.changes import GOOD
        from tests.support.checkpoints import write_tiny_model

        self.template.mkdir()
        write_tiny_model(self.template / "tiny")
        (self.template / "text.txt").write_text("a b c d " * 2000)
        (self.template / "plan.yaml").write_text(yaml.safe_dump(GOOD, sort_keys=False))
        runs.write_sound_run(self.template / "run")
        shutil.copytree(self.template / "run", self.template / "sound")

    def _import_what_it_imports(self, arguments: tuple[str, ...]) -> None:
        """Modules that a command imports when it runs are imported here, once; its cache is every input's."""
        folder, names = self._folder(), self.root / "modules"
        child = os.fork()
        if not child:
            with contextlib.suppress(SystemExit):
                self._become(Case(arguments, ""), folder, self.root / "output")
            names.write_text("\n".join(sys.modules))
            os._exit(0)
        os.waitpid(child, 0)
        for name in names.read_text().splitlines():
            if name not in sys.modules and "__main__" not in name:
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
        if not (self.template / "cache").exists():
            shutil.copytree(folder / "cache", self.template / "cache")
        shutil.rmtree(folder)
        threads = [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
        assert len(threads) == 1, f"threads of this process would be missing in its children: {threads}"

    def _folder(self) -> Path:
        folder = self.root / "input"
        shutil.copytree(self.template, folder)
        (folder / "tmp").mkdir()
        return folder

    def run(self, kind: Kind, draw: random.Random) -> tuple[Case, Outcome]:
        """One input, once more if it took too long: a cold disk or a busy machine costs CPU time, too."""
        state = draw.getstate()
        case, outcome = self._run(kind, draw)
        if outcome.faults == ("too slow",):
            draw.setstate(state)
            case, outcome = self._run(kind, draw)
        return case, outcome

    def _run(self, kind: Kind, draw: random.Random) -> tuple[Case, Outcome]:
        """Write one input, run the program on it, and look at what it did."""
        folder = self._folder()
        case = kind(draw, folder)
        before, output = self._listing(case), self.root / "output"
        child = os.fork()
        if not child:
            self._end(case, folder, output)
        _, status, usage = os.wait4(child, 0)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
        cpu, size = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
        text = output.read_text(encoding="utf-8", errors="replace")
        code = os.waitstatus_to_exitcode(status)
        after = self._listing(case)
        touched = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        faults = {
            "other exit": code not in (0, 2) and not (code == 1 and case.arguments[0] in MAY_FAIL),
            "traceback": "Traceback (most recent call last)" in text or "error: unexpected" in text,
            "too slow": cpu > CPU_SECONDS or code in (-signal.SIGALRM, -signal.SIGXCPU),
            "too large": size > RESIDENT_BYTES,
            "touched": bool(touched),
            "escapes": bool(re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)),
        }
        shutil.rmtree(folder)
        text += "".join(f"\ntouched: {name}" for name in touched[:5])
        return case, Outcome(code, cpu, size, text, tuple(name for name in FAULTS if faults[name]))

    def _listing(self, case: Case) -> Listing:
        """Of each entry outside of what the command may write to: what changes when it is written."""
        beside = "index.html"  # of the runs that lie there, which a report writes
        free = {str(self.root / "input" / name) for name in ("cache", "tmp", beside, *case.writes)}
        free |= {str(self.root / "locks"), str(self.root / "output")}
        entries: Listing = {}
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if f"{folder}/{name}" not in free]
            for name in [*folders, *files]:
                if f"{folder}/{name}" not in free:
                    info = os.lstat(f"{folder}/{name}")
                    size = 0 if name in folders else info.st_size
                    entries[f"{folder}/{name}"] = (info.st_ino, info.st_mode, size, name in files and info.st_mtime_ns)
        return entries

    def _end(self, case: Case, folder: Path, output: Path) -> None:
        """As the child: limit it, be the program, end."""
        code = 70
        try:
            os.setsid()
            signal.setitimer(signal.ITIMER_REAL, HARD_SECONDS)
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + HARD_BYTES,) * 2)
            resource.setrlimit(resource.RLIMIT_CPU, (HARD_CPU_SECONDS,) * 2)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**28,) * 2)
            self._become(case, folder, output)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _become(self, case: Case, folder: Path, output: Path) -> None:
        """The program with these arguments, variables and output. Raises SystemExit."""
        from flows.cli.commands import main

        os.chdir(folder)
        os.environ |= {"BITFRONTIER_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "tmp"), **case.variables}
        tempfile.tempdir = None
        sys.argv = ["bitfrontier", *case.arguments]
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, out)):
            os.dup2(source, target)
        main()


@dataclass
class Tally:
    """What came of the inputs of one kind; `faults` has a line for each that differs, by what it says."""

    counts: Counter[str]
    most_cpu_seconds: float
    most_resident_bytes: int
    faults: dict[str, str]


def fuzz(kind: str, inputs: int, seed: int) -> Tally:
    """Run so many inputs of a kind, in this process's zygote."""
    tally = Tally(Counter(inputs=inputs), 0.0, 0, {})
    zygote = this_zygote()
    for number in range(inputs):
        case, outcome = zygote.run(KINDS[kind], draw_of(seed, kind, number))
        tally.counts.update([f"exit {outcome.code}", *outcome.faults])
        tally.most_cpu_seconds = max(tally.most_cpu_seconds, outcome.cpu_seconds)
        tally.most_resident_bytes = max(tally.most_resident_bytes, outcome.resident_bytes)
        if outcome.faults:
            words = f"{'; '.join(outcome.faults)} (exit {outcome.code}): {_last_line(outcome.output)}"
            place = f"--kind '{kind}' --number {number}: {case.arguments} {case.about!r}"
            tally.faults.setdefault(words, f"{words}\n  {place}")
    return tally


@cache
def this_zygote() -> Zygote:
    folder = tempfile.mkdtemp(prefix="fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Zygote(Path(folder).resolve())


def _print_progress(kind: str, started: float, done: Future[Tally]) -> None:
    """A line for a kind that is done, and its faults at once: all kinds take a quarter of an hour and more."""
    tally = done.result()
    print(f"{time.monotonic() - started:.0f} s: {kind}: {dict(sorted(tally.counts.items()))}", file=sys.stderr)
    print(*tally.faults.values(), sep="\n", end="\n" * bool(tally.faults), file=sys.stderr, flush=True)


def print_table(tallies: Mapping[str, Tally], console: Console) -> Counter[str]:
    """A row for each kind, the sums, and a line for each fault. Returns the sums."""
    columns = ("inputs", "exit 0", "exit 1", "exit 2", *FAULTS)
    table = Table("kind", *columns, "most s", "most MiB")
    total: Counter[str] = Counter()
    for kind, tally in tallies.items():
        figures = f"{tally.most_cpu_seconds:.1f}", f"{tally.most_resident_bytes / 2**20:.0f}"
        table.add_row(kind, *(str(tally.counts[name]) for name in columns), *figures)
        total.update(tally.counts)
    table.add_section()
    table.add_row("all", *(str(total[name]) for name in columns))
    console.print(table)
    for tally in tallies.values():
        for line in tally.faults.values():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return total


def draw_of(seed: int, name: str, number: int) -> random.Random:
    """The draws of one input, whatever ran before it."""
    return random.Random(f"{seed}, {name}, {number}")


def _last_line(output: str) -> str:
    """The last line, and where in our code the traceback ends: of equal ones one is shown."""
    frames = re.findall(r'File "\S*?/((?:quant|engines|evals|reports|flows)/\S+)", line (\d+)', output)
    last = (output.strip().splitlines() or [""])[-1]
    return f"{':'.join(frames[-1]) if frames else ''} {last[:200]!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--kind", choices=KINDS, action="append", default=[])
    parser.add_argument("--number", type=int, help="run this one input of the kind, and show what it prints")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with kinds of its own")
    asked = parser.parse_args()
    if asked.number is not None:
        case, outcome = this_zygote().run(KINDS[asked.kind[0]], draw_of(asked.seed, asked.kind[0], asked.number))
        print(case, outcome.code, *outcome.faults, f"{outcome.cpu_seconds:.2f} s", outcome.output, sep="\n")
        return 1 if outcome.faults else 0
    kinds, started = asked.kind or list(KINDS), time.monotonic()
    inputs = [asked.count // len(kinds) + (place < asked.count % len(kinds)) for place in range(len(kinds))]
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(fuzz, kind, n, asked.seed) for kind, n in zip(kinds, inputs, strict=True)]
        for kind, future in zip(kinds, futures, strict=True):
            future.add_done_callback(partial(_print_progress, kind, started))
        tallies = {kind: future.result() for kind, future in zip(kinds, futures, strict=True)}
    total = print_table(tallies, Console(width=None if sys.stdout.isatty() else 170))
    print(f"seed {asked.seed}, {asked.jobs} at once, {time.monotonic() - started:.0f} s")
    return 1 if any(total[fault] for fault in FAULTS) else 0


if __name__ == "__main__":
    sys.exit(main())
