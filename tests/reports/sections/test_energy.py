from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evals.schema.load import GpuSamples
from evals.schema.trial import NVML, Trial
from evals.schema.trial_file import read_trial
from quant.canonical_json import write_json
from reports.decision.results import read_results
from reports.metrics.cell import cell_metrics
from reports.output.html_report import write_report
from reports.output.json_data import as_data
from reports.rounds.speeds import speed_models
from reports.sections.energy import energies
from tests.support.made_runs import write_run
from tests.support.made_trials import trial


def _gpu(watts: float, reasons: int = 0, end: float = 3.0) -> GpuSamples:
    """`watts` all the time, from before the load until `end`."""
    seconds = tuple(-0.5 + 0.1 * n for n in range(round((end + 0.5) / 0.1) + 1))
    count = len(seconds)
    return GpuSamples(
        0,
        seconds,
        (watts,) * count,
        (1500.0,) * (count - 1) + (900.0,),
        (61.0,) * count,
        (reasons,) * count,
        (None,) * count,
    )


def _trial(*gpus: GpuSamples) -> Trial:
    """Two requests of 11 tokens one after the other at about 10 tokens/s: 2.2 s a repeat."""
    made = trial("none", 10, 2.0, 80)
    memory = replace(made.memory, source=NVML) if made.memory else None
    return replace(made, memory=memory, speed=(replace(made.speed[0], gpus=tuple((gpu,) for gpu in gpus)),))


def test_joules_per_output_token_are_those_of_the_repeats() -> None:
    made = _trial(_gpu(100.0), _gpu(300.0))
    (usage,) = energies([cell_metrics(made, None)])
    seconds = [max(request.end_seconds for request in repeat) for repeat in made.speed[0].repeats]
    per_token = [100 * seconds[0] / 22, 300 * seconds[1] / 22]
    assert usage.joules_per_token is not None
    assert usage.joules_per_token.value == pytest.approx(sum(per_token) / 2)
    assert usage.joules_per_token.count == 2
    assert usage.watts is not None
    assert usage.watts.value == pytest.approx(200)
    assert (usage.gpus, usage.sm_megahertz, usage.celsius) == ((0,), (1500.0, 1500.0), 61.0)
    assert (usage.slowed, usage.why) == ((), ())


def _visited(watts: Sequence[float], method: str, repeats: int = 1) -> Trial:
    """In each round one visit of two equal repeats, or of one, with these watts."""
    made = _trial(*(_gpu(power) for power in watts for _ in range(repeats)))
    (speed,) = made.speed
    record = speed.repeats[0]
    rounds = tuple(number for number in range(1, len(watts) + 1) for _ in range(repeats))
    visits = replace(speed, repeats=(record,) * len(rounds), rounds=rounds)
    return replace(made, key=method, method=method, method_label=method, speed=(visits,))


def test_in_a_race_a_visit_is_one_observation_whatever_its_repeats() -> None:
    alone = [energies([cell_metrics(_visited((100.0, 110.0, 130.0), "none", n), None)])[0] for n in (1, 2)]
    assert alone[0].joules_per_token is not None
    assert alone[0].joules_per_token.count == 3
    assert alone[0].joules_per_token == alone[1].joules_per_token
    assert alone[0].watts == alone[1].watts


def test_in_a_race_energy_is_of_the_model_of_all_visits() -> None:
    """What a round has in common, such as its heat, is in no interval that compares cells."""
    trials = [_visited((100.0, 130.0, 170.0), "none"), _visited((50.2, 65.0, 84.8), "rtn")]
    models = speed_models(trials)
    cells = [cell_metrics(made, None) for made in trials]
    both = [usage.joules_per_token for usage in energies(cells, models)]
    own = [usage.joules_per_token for usage in energies(cells)]
    for modelled, alone in zip(both, own, strict=True):
        assert modelled is not None
        assert alone is not None
        assert (modelled.high - modelled.low) / modelled.value < 0.05 < (alone.high - alone.low) / alone.value
    assert both[0] is not None
    assert both[1] is not None
    assert both[0].value / both[1].value == pytest.approx(2.0, rel=0.01)


def test_a_repeat_without_energy_is_left_out_and_told() -> None:
    (usage,) = energies([cell_metrics(_trial(_gpu(100.0), _gpu(300.0, end=1.0)), None)])
    assert usage.watts is not None
    assert (usage.watts.value, usage.watts.count) == (pytest.approx(100), 1)
    assert usage.why == ("repeat 2: the power samples of GPU 0 do not cover the load",)


def test_a_gpu_that_told_nothing_has_no_figures() -> None:
    (usage,) = energies([cell_metrics(_trial(), None)])
    assert (usage.joules_per_token, usage.watts, usage.sm_megahertz, usage.celsius) == (None, None, None, None)
    assert usage.why[0].startswith("repeats 1, 2: no power was recorded")


def test_without_a_gpu_nothing_is_said(tmp_path: Path) -> None:
    run = write_run(tmp_path, trial("none", 10, 2.0, 80))
    assert "Energy and clocks" not in write_report(run).read_text()
    assert as_data(read_results(run))["energy"] == []


def test_a_throttled_run_is_marked_on_the_page(tmp_path: Path) -> None:
    run = write_run(tmp_path, _trial(_gpu(100.0), _gpu(300.0, reasons=0x4)))
    text = write_report(run).read_text()
    message = "its GPUs were slowed down by its power limit: repeat 2, 100 % of the samples"
    section = text[text.index("Energy and clocks") :]
    assert message in section
    assert (
        f'<span class="bad">{message}'
        in text[text.index("Load and latency</h2>") : text.index("Energy and clocks</h2>")]
    )
    assert f"of none · e at concurrency 1: {message}" in text
    data = as_data(read_results(run))
    assert data["energy"][0]["watts"]["value"] == pytest.approx(200)
    assert message in data["cells"][0]["loads"][0]["warnings"]


def test_samples_are_kept_with_the_trial(tmp_path: Path) -> None:
    made = _trial(_gpu(100.0), _gpu(300.0))
    write_json(tmp_path / "trial.json", made)
    assert read_trial(tmp_path / "trial.json").speed == made.speed
