"""How long a report of many cells takes, how large it is, and how fast its page answers: `python -m benchmarks.pages`.

Of a real sweep of 16 cells, `evidence/frontier-cpu-2026-11-22.tar.xz`, and of planted cells, of which no figure was
measured. Each has what a real one has: two loads of three repeats, 240 questions in three tasks with their
log-likelihoods, 4,096 tokens of a text. A slider's answer is timed in Chromium from the key press to the frame that
shows it: that of a limit that moves a step, and of one that leaps so that other cells fail.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tarfile
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from engines.runtime.own_packages import ROOT
from evals.schema.accuracy import Perplexity, Score
from evals.schema.load import LoadPoint, Request, Speed
from evals.schema.trial import Trial
from quant.canonical_json import write_json
from reports.output.html_report import write_report
from tests.support.browser import Opened, chromium
from tests.support.made_trials import ABOUT, trial

ENGINES = (
    "vllm",
    "sglang",
    "tensorrt_llm",
    "llama_cpp",
    "openvino",
    "transformers",
    "tgi",
    "triton",
    "deepspeed",
    "ollama",
)
SIZES = (100, 1000)
REPEATS, QUESTIONS, TOKENS = 3, 80, 4096
TASKS = ("arc_easy", "hellaswag", "mmlu")
PRESSES = 20
MOVES = {("ArrowRight", "ArrowLeft"): "a step", ("PageUp", "PageDown"): "a tenth"}
REAL = ROOT / "evidence" / "frontier-cpu-2026-11-22.tar.xz"
WATCH = """() => {
  Object.assign(window, { took: [], shown: [] });
  const ours = show;
  show = () => { const began = performance.now(); ours(); shown.push(performance.now() - began); };
  document.addEventListener("keydown", () => {
    const began = performance.now();
    requestAnimationFrame(() => requestAnimationFrame(() => took.push(performance.now() - began)));
  }, true);
}"""
PRICE = {"per_device_hour": 2.0, "currency": "USD"}


def _speed(rate: float, users: int, draw: random.Random) -> Speed:
    """Closed loops: each user's next request starts where the last one ended."""
    repeats = []
    for _ in range(REPEATS):
        requests = []
        for user in range(users):
            at = 0.001 * user
            for _ in range(6):
                step = draw.uniform(0.95, 1.05) / rate
                times = [at + step * (n + 1) for n in range(16)]
                requests.append(
                    Request(at, tuple((moment, n + 1) for n, moment in enumerate(times)), times[-1], 64, 16)
                )
                at = times[-1] + 1e-4
        repeats.append(tuple(sorted(requests, key=lambda request: request.sent_seconds)))
    return Speed(LoadPoint(users, 6 * users, 64, 16), tuple(repeats))


def _score(task: str, share: float, draw: random.Random, *, texts: bool) -> Score:
    """The same questions for all cells; a worse cell has other answers to some."""
    values = tuple((float(number < 0.7 * QUESTIONS) if draw.random() < share else 0.0,) for number in range(QUESTIONS))
    likely = tuple(tuple(-draw.uniform(1, 9) for _ in range(4)) for _ in values)
    keys = tuple(f"{number}:{task}:p" for number in range(QUESTIONS))
    words = tuple((f"what is {number}? " * 12, "one", "two", "three", "four") for number in range(QUESTIONS))
    return Score(
        task, task, 0, ("acc",), keys, values, likely, tuple(range(QUESTIONS)), QUESTIONS, texts=words if texts else ()
    )


def cell(number: int) -> Trial:
    draw = random.Random(number)
    engine, method = ENGINES[number % len(ENGINES)], number // len(ENGINES)
    rate, loss = draw.uniform(5, 50), 0.0 if not method else draw.uniform(0, 0.1)
    result = trial("none" if not method else f"method {method}", rate, draw.uniform(0.5, 8), 80, engine=engine)
    spec, bits = (result.checkpoint or {})["spec"], draw.uniform(2, 9) if method else 16.0
    windows = tuple(tuple(-2 - loss + draw.gauss(0, 0.01) for _ in range(1023)) for _ in range(TOKENS // 1024))
    return replace(
        result,
        speed=(_speed(rate, 1, draw), _speed(rate / 2, 8, draw)),
        scores=tuple(_score(task, 1 - loss, draw, texts=not method) for task in TASKS),
        perplexities=(Perplexity("papers", "text", 1024, 1024, windows),),
        checkpoint={"bits_per_weight": bits, "spec": spec},
        facts={"version": "1.2.3", "kernel": "a kernel", "command": "serve --model checkpoint --port 8000"},
    )


def plant(folder: Path, cells: int) -> Path:
    (folder / "trials").mkdir(parents=True)
    names = [f"{number}.json" for number in range(cells)]
    for number, name in enumerate(names):
        write_json(folder / "trials" / name, cell(number))
    about = {**ABOUT, "trials": names, "price": PRICE, "limits": {"accuracy_recovery": 0.9, "perplexity_ratio": 1.1}}
    write_json(folder / "sweep.json", about)
    return folder


def answers(page: Path, keys: tuple[str, str]) -> tuple[list[float], list[float]]:
    """Of presses of these keys on a slider, by turns: milliseconds until the frame after the one in which all is drawn
    again, and those that the page's script takes.
    """
    with chromium() as browser:
        opened = Opened(browser, page)
        opened.page.locator("#drawer > summary").click()
        opened.page.get_by_role("slider", name="accuracy recovered, at least").focus()
        opened.page.evaluate(WATCH)
        for press in range(PRESSES):
            opened.page.keyboard.press(keys[press % 2])
            opened.page.wait_for_timeout(300)
        waits, scripts = opened.page.evaluate("[took, shown]")
        if opened.faults:
            raise SystemExit(f"the page is at fault: {opened.faults}")
    return sorted(waits), sorted(scripts)


def report(name: str, run: Path) -> None:
    began, used = time.monotonic(), time.process_time()
    page = write_report(run)
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - used
    print(
        f"{name}: written in {seconds:.1f} s ({cpu_seconds:.1f} CPU-seconds), page {page.stat().st_size / 1e6:.2f} MB"
    )
    for keys, move in MOVES.items():
        waits, scripts = answers(page, keys)
        print(
            f"  a slider that moves {move} is answered after {statistics.median(waits):.0f} ms "
            f"(of {len(waits)}: {waits[0]:.0f} to {waits[-1]:.0f}), of which the script takes "
            f"{statistics.median(scripts):.0f} ms ({scripts[0]:.0f} to {scripts[-1]:.0f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    given = parser.parse_args()
    print(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(REAL) as archive:
            archive.extractall(folder, filter="data")
        report("four engines, 16 cells that were measured", Path(folder))
    for cells in given.sizes:
        with tempfile.TemporaryDirectory() as folder:
            report(f"{cells} planted cells", plant(Path(folder) / "run", cells))


if __name__ == "__main__":
    main()
