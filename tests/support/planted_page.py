"""A run of planted cells for tests of the page: two engines, a frontier, ties, garbage, and what is not known."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from evals.schema.load import LoadPoint, Speed
from evals.schema.slo import SLO, Search, SearchRange
from evals.schema.trial import Trial
from quant.canonical_json import write_json
from reports.output.html_report import write_report
from tests.support.made_trials import ABOUT, speed, trial

SEARCHED = SLO(60.0, None, 50)


def planted_speeds(rates: tuple[float, float], wobble: float = 0.05) -> tuple[Speed, ...]:
    """At concurrency 1 and 4, and under an open load; enough requests for a p90 to have an interval, not a p99."""
    measurement, four = (speed(rate, users, wobble) for rate, users in zip(rates, (1, 4), strict=True))
    opened = replace(speed(rates[0] / 2, 1, wobble), load=LoadPoint(None, 2, 10, 11, 1.0, "poisson"))
    return tuple(
        replace(load_speed, repeats=tuple(repeat * 40 for repeat in load_speed.repeats))
        for load_speed in (measurement, four, opened)
    )


def page_trials() -> list[Trial]:
    draw, trials = random.Random(3), []
    late = [speed(0.01, 8)]  # the first token comes after 100 s
    for engine in ("vllm", "llama_cpp"):
        for number, method in enumerate(("none", "rtn", "awq", "gptq", "fp8")):
            rate = draw.uniform(5, 40)
            result = trial(
                method, rate, draw.uniform(0.5, 4), 80 - draw.randrange(12), 2 + 0.03 * number, engine=engine
            )
            speeds = planted_speeds((rate, rate * draw.uniform(1, 3)))
            met = speeds[number % 2 : number % 2 + 1]  # none of the last method
            tried = (*met, *late) if engine == "vllm" else met
            searched = Search(SearchRange("concurrency", 1, 8, 40, 10, 11), SEARCHED, tried, met)
            trials.append(replace(result, speed=speeds, searches=(searched,) if method != "fp8" else ()))
    trials.append(replace(trials[1], key="short", method_label="short", speed=trials[1].speed[:1], memory=None))
    two = {"engine_options": {"tensor_parallel": 2}}  # faster than on one device, and slower on each
    for number in (5, 6):
        faster = planted_speeds((40.0 + number, 125.0 + number))
        trials.append(replace(trials[number], key=f"two-{number}", provenance=two, speed=faster))
    garbage = replace(trial("garbage", 900, 0.1, 5, 6.0, engine="vllm"), key="g", speed=planted_speeds((900, 900)))
    return [*trials, garbage, replace(trials[2], key="silent", method_label="silent", scores=(), perplexities=())]


def write_page_run(folder: Path, trials: list[Trial], **about: Any) -> Path:
    (folder / "trials").mkdir(parents=True)
    names = [f"{number}.json" for number in range(len(trials))]
    for name, result in zip(names, trials, strict=True):
        write_json(folder / "trials" / name, result)
    write_json(folder / "sweep.json", {**ABOUT, "trials": names, **about})
    write_report(folder)
    return folder
