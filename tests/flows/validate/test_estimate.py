from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.telemetry.machine import this_machine
from engines.types import Attached, Device
from evals.tasks.loaded_tasks import TaskSpec
from flows.plan.schema import Plan
from flows.plan.source import load_plan
from flows.validate.estimate import Forecast, RaceForecast, bits_of, estimate, noted
from flows.validate.plan import check
from flows.validate.resolved import ResolvedPlan
from quant.types import Scheme
from tests.support.bad_plans.changes import GOOD

H100 = Device("cuda", "NVIDIA H100 80GB HBM3", frozenset({"sm90"}), 80 * 1024**3, ("GPU-0",))
HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def sweep(workplace: Path) -> ResolvedPlan:
    (workplace / "text.txt").write_text("a b c d e f " * 400)
    file = workplace / "plan.yaml"
    file.write_text(yaml.safe_dump({**GOOD, "data": "root"}))
    return check(load_plan(file))


def _large(sweep: ResolvedPlan) -> ResolvedPlan:
    """Seven billion parameters, MMLU and GSM8K by five examples, on an H100."""
    cells = tuple(replace(cell, model=replace(cell.model, parameters=7_600_000_000)) for cell in sweep.cells)
    return replace(sweep, cells=cells, device=H100, tasks=(TaskSpec("mmlu", None, 5), TaskSpec("gsm8k", None, 5)))


def test_a_large_model_on_a_large_gpu_takes_hours_not_months(sweep: ResolvedPlan, tmp_path: Path) -> None:
    forecast = estimate(_large(sweep), tmp_path / "runs")
    assert 0.5 * HOUR < forecast.seconds < DAY
    assert forecast.factor > 2
    assert "H100 data sheet" in forecast.basis


def test_the_same_sweep_takes_longer_on_less_of_a_device(sweep: ResolvedPlan, tmp_path: Path) -> None:
    large, runs = _large(sweep), tmp_path / "runs"
    small = replace(large, device=replace(H100, name="NVIDIA L4"))
    unknown = replace(large, device=replace(H100, name="NVIDIA of next year"))
    assert estimate(small, runs).seconds > 2 * estimate(large, runs).seconds
    assert estimate(unknown, runs).factor > estimate(large, runs).factor
    assert "not in the table" in estimate(unknown, runs).basis


def _write_run(runs: Path, sweep: ResolvedPlan, forecast: Forecast, slower: float, machine: Any) -> None:
    trials = [f"{number}.json" for number in range(len(sweep.cells))]
    folder = runs / "before"
    (folder / "trials").mkdir(parents=True)
    about = {"schema_version": 1, "trials": trials, "forecast": noted(forecast, trials)}
    (folder / "sweep.json").write_text(json.dumps(about))
    for name, phases, cell in zip(trials, forecast.raw, sweep.cells, strict=True):
        seconds = {phase: slower * value for phase, value in phases.items()}
        trial = {"status": "ok", "engine": cell.choice.engine.name, "seconds": seconds}
        (folder / "trials" / name).write_text(json.dumps(trial | {"provenance": {"machine": machine}}))


def test_what_earlier_trials_took_here_puts_the_forecast_right(sweep: ResolvedPlan, tmp_path: Path) -> None:
    first = estimate(sweep, tmp_path / "runs")
    _write_run(tmp_path / "runs", sweep, first, 3.0, asdict(this_machine("cpu")))
    second = estimate(sweep, tmp_path / "runs")
    assert second.cells[0] == pytest.approx(first.cells[0] * 3 ** (3 / 4))  # three trials, not yet wholly believed
    assert second.raw == first.raw
    assert second.factor < first.factor
    assert second.basis.endswith("; 3 earlier trials on this machine")


def test_trials_of_another_machine_and_damaged_or_newer_files_say_nothing(sweep: ResolvedPlan, tmp_path: Path) -> None:
    first = estimate(sweep, tmp_path / "runs")
    _write_run(tmp_path / "runs", sweep, first, 3.0, {**asdict(this_machine("cpu")), "cores": 1000.0})
    (tmp_path / "runs" / "before" / "trials" / "0.json").write_text("{")
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "sweep.json").write_text("[]")
    (tmp_path / "runs" / "newer").mkdir()
    (tmp_path / "runs" / "newer" / "sweep.json").write_text('{"schema_version": 999, "trials": []}')
    assert estimate(sweep, tmp_path / "runs") == first


def _raced(sweep: ResolvedPlan, **changes: Any) -> ResolvedPlan:
    plan = {**GOOD, "data": "root", "repeats": 1, "race": {"rounds": 6, **changes.pop("race", {})}, **changes}
    return replace(sweep, plan=Plan.model_validate(plan))


def test_a_race_takes_from_its_first_look_to_all_rounds(sweep: ResolvedPlan, tmp_path: Path) -> None:
    """Three cells and the control in each later round: a fresh server and the loads, and no accuracy."""
    forecast, once = estimate(_raced(sweep), tmp_path / "runs"), estimate(sweep, tmp_path / "runs")
    visits = [cell["start"] + cell["speed"] for cell in forecast.raw]
    one_round = sum(visits) + visits[0]
    assert forecast.race == RaceForecast(6, 3, True, pytest.approx(2 * one_round), pytest.approx(5 * one_round))
    loads = sum(cell["speed"] for cell in once.raw) - sum(cell["speed"] for cell in forecast.raw)  # three repeats
    first = once.seconds - loads
    assert forecast.first_seconds == pytest.approx(first)
    assert forecast.seconds == pytest.approx(((first + 2 * one_round) * (first + 5 * one_round)) ** 0.5)
    assert forecast.seconds * forecast.factor >= first + 5 * one_round
    assert forecast.seconds / forecast.factor <= first + 2 * one_round
    alone = estimate(_raced(sweep, race={"control": False}), tmp_path / "runs").race
    assert alone == RaceForecast(6, 3, False, pytest.approx(2 * sum(visits)), pytest.approx(5 * sum(visits)))


def test_minutes_end_a_race_after_the_round_in_which_they_are_over(sweep: ResolvedPlan, tmp_path: Path) -> None:
    longest = estimate(_raced(sweep), tmp_path / "runs").race
    assert longest is not None
    one_round = longest.least_seconds / 2
    short = estimate(_raced(sweep, race={"minutes": 3.5 * one_round / 60}), tmp_path / "runs").race
    assert short == replace(longest, most_seconds=pytest.approx(4 * one_round))
    shortest = estimate(_raced(sweep, race={"minutes": 0.5 * one_round / 60}), tmp_path / "runs").race
    assert shortest is not None
    assert shortest.least_seconds == shortest.most_seconds == pytest.approx(one_round)


def test_later_rounds_repeat_no_search_and_no_server_of_somebody_else(sweep: ResolvedPlan, tmp_path: Path) -> None:
    search = {"over": "concurrency", "highest": 8, "requests": 400, "prompt_tokens": 8, "output_tokens": 4}
    searched = estimate(_raced(sweep, slo={"ttft_ms": 500}, search=[search]), tmp_path / "runs")
    plain = estimate(_raced(sweep), tmp_path / "runs")
    assert searched.raw[0]["speed"] > 10 * plain.raw[0]["speed"]
    assert searched.race == plain.race
    first, *others = sweep.cells
    attached = replace(first, choice=replace(first.choice, attached=Attached("http://127.0.0.1:1", None, "m")))
    visits = [cell["start"] + cell["speed"] for cell in plain.raw]
    others_alone = estimate(replace(_raced(sweep), cells=(attached, *others)), tmp_path / "runs").race
    assert others_alone == RaceForecast(
        6, 2, False, pytest.approx(2 * sum(visits[1:])), pytest.approx(5 * sum(visits[1:]))
    )


@pytest.mark.parametrize(
    ("weights", "bits"), [("int4", 4), ("fp8", 8), ("Q4_K_M", 4), ("NVFP4", 4), ("bfloat16", 16), ("unknown", 16)]
)
def test_bits_of_a_scheme(weights: str, bits: float) -> None:
    assert bits_of(Scheme(weights)) == bits


def test_loads_and_searches_are_forecast_by_their_waves(sweep: ResolvedPlan, tmp_path: Path) -> None:
    def timed(**load: Any) -> float:
        plan = Plan.model_validate({**GOOD, "data": "root", "repeats": 2, **load})
        return estimate(replace(sweep, plan=plan), tmp_path / "runs").raw[0]["speed"]

    sizes = {"prompt_tokens": 8, "output_tokens": 4}
    alone, four = (timed(load=[{"concurrency": users, "requests": 8, **sizes}]) for users in (1, 4))
    assert alone == pytest.approx(4 * four, rel=0.01)  # of so small a model the engine's own time is all
    slow = timed(load=[{"rate_per_second": 0.5, "requests": 60, **sizes}])
    assert slow == pytest.approx(240, rel=0.02)
    search = {"over": "concurrency", "requests": 40, "level_seconds": 0, **sizes}
    narrow, wide = (
        timed(slo={"ttft_ms": 500}, search=[{**search, "lowest": 4, "highest": most}]) - timed() for most in (4, 64)
    )
    assert wide / narrow == pytest.approx((7 / 16) / (3 / 4), rel=0.2)
