"""The report's text and the comparison's, as they were looked at: `python -m tests.reports.output.test_gold` writes them anew.

Styles, scripts, their data and figures are left out: those have tests of their own.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from evals.schema.accuracy import Score
from evals.schema.load import LoadPoint, Speed
from evals.schema.trial import Failure, Memory, Trial
from reports.compare.runs import compare
from reports.decision.results import Results, conclude
from reports.output.html_report import contents, render, render_comparison
from tests.support.made_trials import ABOUT, failed, score, speed, trial

GOLD = Path(__file__).parent / "gold"
GIB = 1024**3


def _loads(rate: float) -> tuple[Speed, ...]:
    """Of enough requests for a median to have an interval."""
    opened = replace(speed(rate), load=LoadPoint(None, 2, 10, 11, 1.0, "poisson"))
    loads = (speed(rate, 1), speed(1.8 * rate, 4), opened)
    return tuple(replace(load, repeats=tuple(repeat * 10 for repeat in load.repeats)) for load in loads)


def _scores(right: int, *, texts: bool) -> tuple[Score, ...]:
    made = score("arc", [1.0] * right + [0.0] * (100 - right))
    answers = tuple((f"Question {number}?", "yes", "no") for number in range(100)) if texts else ()
    return (replace(made, ranks=tuple(range(100)), loglikelihoods=((-1.0, -2.0),) * 100, texts=answers),)


def _cell(method: str, rate: float, peak_gib: float, right: int, loss: float = 2.0, *, engine: str = "vllm") -> Trial:
    base = trial(method, rate, peak_gib, right, loss, engine=engine)
    samples = ((0.0, int(peak_gib * GIB / 2)), (0.5, int(peak_gib * GIB)))
    memory = Memory("PSS", samples[0][1], samples[1][1], None, None, None, samples=samples)
    return replace(base, speed=_loads(rate), scores=_scores(right, texts=method == "none"), memory=memory)


def _results(rate: float = 20) -> Results:
    failure = Failure("out-of-memory", "the server was killed", "lower max_batch", "last words")
    trials = [
        _cell("none", 10, 2.0, 80),
        _cell("rtn", rate, 1.0, 79, 2.02),
        _cell("gptq", 30, 0.9, 40, 4.0),
        _cell("none", 8, 1.5, 80, engine="llama_cpp"),
        _cell("rtn", 12, 0.8, 79, 2.02, engine="llama_cpp"),
        replace(failed("awq", "the server was killed"), failure=failure),
        failed("fp8", "no kernel for FP8 here", "unsupported"),
    ]
    about = {
        **ABOUT,
        "limits": {"accuracy_recovery": 0.9, "perplexity_ratio": 1.1, "memory_gib": 4.0},
        "price": {"per_device_hour": 2.0, "currency": "EUR"},
        "slo": {"ttft_seconds": 0.5, "tpot_seconds": 0.2, "percentile": 50.0},
    }
    return conclude(about, trials)


def pages() -> dict[str, str]:
    report = render(contents(_results()), {})
    comparison = render_comparison(compare(_results(), _results(rate=14)))
    return {
        "report.html": report[report.index("<body>") : report.index('<script type="application/json"')],
        "compare.html": comparison[comparison.index("<body>") :],
    }


@pytest.mark.parametrize("name", ["report.html", "compare.html"])
def test_the_page_is_as_it_was_looked_at(name: str) -> None:
    assert pages()[name] == (GOLD / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    os.environ.pop("UV_RUN_RECURSION_DEPTH", None)  # as in tests: printed commands begin as an installed program's
    for name, text in pages().items():
        (GOLD / name).write_text(text, encoding="utf-8")
