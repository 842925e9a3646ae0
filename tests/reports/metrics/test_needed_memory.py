"""Needed memory where peaks are pre-allocation: three checkpoints that all fill 72 GiB of a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evals.schema.trial import IN_USE, NVML, PSS, SET_ASIDE, Memory, Trial
from reports.decision.results import Results, conclude
from reports.metrics.needed_memory import ON_A_CPU, needed_memory
from reports.output.formatting import needed_gib
from reports.output.html_report import contents, render
from reports.output.interactive_data import page_data
from tests.support.made_trials import ABOUT, trial

GIB = 1024**3
KV_TOKEN = 131_072.0
IN_FLIGHT_GIB = 21 * KV_TOKEN / GIB  # one request of 10 + 11 tokens at a time


def _on_a_gpu(method: str, rate: float, weights_gib: float, loss: float) -> Trial:
    weights = round(weights_gib * GIB)
    aside = 72 * GIB - weights - GIB  # a workspace of 1 GiB
    memory = Memory(NVML, 72 * GIB, 72 * GIB, weights, aside, SET_ASIDE, KV_TOKEN, "reported by the engine")
    return replace(trial(method, rate, 72.0, 80, loss), memory=memory)


@pytest.fixture
def results() -> Results:
    limits = {"accuracy_recovery": 0.9, "perplexity_ratio": 1.1, "memory_gib": 12.0}
    trials = [_on_a_gpu("none", 10, 14.2, 2.0), _on_a_gpu("fp8", 20, 7.6, 2.001), _on_a_gpu("awq", 15, 5.0, 2.002)]
    return conclude({**ABOUT, "limits": limits}, trials)


def test_limit_aim_and_axis_go_by_what_is_needed(results: Results) -> None:
    assert [judgement.verdict for judgement in results.judged] == ["fails", "meets", "meets"]
    needed = [needed_memory(cell.trial) for cell in results.cells]
    gib = [memory.gib.value for memory in needed if memory]
    assert gib == pytest.approx([15.2 + IN_FLIGHT_GIB, 8.6 + IN_FLIGHT_GIB, 6.0 + IN_FLIGHT_GIB])
    assert ("best memory", "awq · e") in [(title, name) for title, name, _ in results.answer.best]
    front = next(frontier for frontier in results.frontiers if frontier.plot.name == "memory-throughput")
    assert front.on == ["fp8 · e", "awq · e"]
    assert front.plot.x.label == "output tokens per second"
    assert front.plot.y.label == "needed memory, GiB"
    assert [cell["memory"][0] for cell in page_data(results)["cells"]] == pytest.approx(gib)


def test_the_reserved_peak_stays_a_column_with_its_reason(results: Results) -> None:
    page = render(contents(results), {})
    assert '72.00<br><span class="dim">of it 63.40 GiB are set aside for the KV cache and idle</span>' in page


def test_where_that_is_not_known_the_measured_peak_stays_and_is_called_so() -> None:
    on_cpu = trial("none", 10, 2.0, 80)
    needed = needed_memory(on_cpu)
    assert needed is not None
    assert (needed.gib.value, needed.source) == (2.0, ON_A_CPU)
    assert needed_memory(replace(on_cpu, memory=None)) is None
    silent = needed_memory(replace(on_cpu, memory=Memory(NVML, GIB, GIB, None, None, None)))
    assert silent is not None
    assert silent.source == "measured peak: weights or KV cache per token are not reported"
    grows = needed_memory(replace(on_cpu, memory=Memory(NVML, 3 * GIB, 3 * GIB, GIB, GIB, IN_USE, KV_TOKEN, "told")))
    assert grows is not None
    assert grows.gib.value == 3.0
    paged = needed_memory(replace(on_cpu, memory=Memory(PSS, 3 * GIB, 3 * GIB, GIB, GIB, SET_ASIDE, KV_TOKEN, "told")))
    assert paged is not None
    assert paged.gib.value == 3.0


def test_without_what_was_set_aside_it_lies_between_weights_and_peak() -> None:
    memory = Memory(NVML, 72 * GIB, 72 * GIB, 5 * GIB, None, None, KV_TOKEN, "by the model's configuration")
    needed = needed_memory(replace(trial("awq", 10, 72.0, 80), memory=memory))
    assert needed is not None
    assert (needed.gib.value, needed.gib.high) == (pytest.approx(5 + IN_FLIGHT_GIB), 72.0)
    limits = {"accuracy_recovery": 0.9, "perplexity_ratio": 1.1, "memory_gib": 24.0}
    cell = replace(trial("awq", 10, 72.0, 80, 2.001), memory=memory)
    judged = conclude({**ABOUT, "limits": limits}, [trial("none", 5, 2.0, 80), cell]).judged[1]
    assert (judged.verdict, judged.why.split(",")[0]) == ("inconclusive", "needed memory in GiB 5.003 [5.003")


def test_of_the_visits_of_a_race_the_highest_peak_counts() -> None:
    made = trial("none", 10, 2.0, 80)
    assert made.memory is not None
    raced = replace(made, memory=replace(made.memory, later_peaks=((2, round(2.1 * GIB)), (3, round(2.2 * GIB)))))
    needed = needed_memory(raced)
    assert needed is not None
    assert needed.gib.value == pytest.approx(2.2)
    assert needed_gib(raced) == "2.20"
    assert needed_gib(made) == "2.00"
