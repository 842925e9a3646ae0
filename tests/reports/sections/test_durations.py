from __future__ import annotations

from dataclasses import replace

import pytest

from evals.schema.trial import Trial
from reports.output.formatting import about_duration, duration, forecast_text, spent_text
from reports.sections.durations import Spent, forecast_error, spent
from tests.support.made_trials import ABOUT, failed, trial

ABOUT_IT = {**ABOUT, "trials": ["a.json", "b.json"], "forecast": {"seconds": 60.0, "factor": 2.0, "cells": {}}}


def _took(method: str, measuring: float, making: float) -> Trial:
    made = trial(method, 10, 1, 50)
    checkpoint = {**(made.checkpoint or {}), "key": method, "seconds": {"total": making}}
    return replace(made, seconds={"total": measuring}, checkpoint=checkpoint)


def test_measuring_and_quantizing_are_held_against_the_forecast() -> None:
    error = forecast_error(ABOUT_IT, [_took("none", 30.0, 5.0), _took("rtn", 40.0, 15.0)])
    assert error is not None
    assert error.took_seconds == 90.0
    assert error.is_within
    assert forecast_text(error) == "Forecast about 60 s (30 s to 2 min); quantizing and measuring took 2 min"


def test_what_the_time_went_into_adds_up_to_what_it_took() -> None:
    first = replace(
        _took("none", 100.0, 20.0), seconds={"start": 10.0, "speed": 30.0, "accuracy": 60.0, "total": 100.0}
    )
    again = {"round": 2, "seconds": 25.0, "startup_seconds": 5.0, "attempts": 2, "all_attempts_seconds": 70.0}
    visits = [again, {"round": 3, "seconds": 25.0}]
    first = replace(first, provenance={**first.provenance, "visits": visits})
    broken = replace(failed("rtn", "broken"), seconds={"total": 5.0})
    works = spent([first, replace(first, seconds={}, provenance={}), broken])
    assert works == [
        Spent("quantizing", 20.0),
        Spent("starting servers", 15.0),
        Spent("loads", 80.0),
        Spent("accuracy", 60.0),
        Spent("visits made again", 40.0),
        Spent("cells that failed", 5.0),
    ]
    assert spent_text(works[:2]).startswith("Time went into quantizing 20 s (57 %), starting servers 15 s (43 %);")
    about = {**ABOUT, "trials": [], "forecast": {"seconds": 60.0, "factor": 2.0, "cells": {}}}
    error = forecast_error(about, [first, broken])
    assert error is not None
    assert error.took_seconds == sum(part.seconds for part in works)
    assert spent([]) == []


def test_later_visits_count_those_of_the_control_too() -> None:
    visited = {"visits": [{"seconds": 4.0, "startup_seconds": 2.0}, {"seconds": 4.0, "startup_seconds": None}]}
    trials = [replace(_took(method, 30.0, 5.0), provenance=visited) for method in ("none", "rtn")]
    control = replace(trials[0], key="blind")
    error = forecast_error(ABOUT_IT, trials, control)
    assert error is not None
    assert error.took_seconds == 2 * (30.0 + 5.0) + 3 * 10.0


def test_a_forecast_that_was_far_off_says_so() -> None:
    error = forecast_error(ABOUT_IT, [_took("none", 3000.0, 0.0), failed("rtn", "broken")])
    assert error is not None
    assert not error.is_within
    assert forecast_text(error).endswith("took 50 min, which is outside; 1 cell failed and took less")


def test_a_run_without_a_forecast_or_without_all_cells_has_none() -> None:
    assert forecast_error({**ABOUT, "trials": []}, []) is None
    assert forecast_error(ABOUT_IT, [trial("none", 10, 1, 50)]) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(40, "40 s"), (2400, "40 min"), (4800, "1 h 20 min"), (88 * 86400, "88 d 0 h")]
)
def test_durations_in_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_forecast_with_its_range() -> None:
    assert about_duration(2400, 2) == "about 40 min (20 min to 1 h 20 min)"


@pytest.mark.parametrize("visits", [[1], None, [{"seconds": "long"}], {"round": 2}])
def test_visits_that_somebody_else_wrote_and_that_are_none_count_nothing(visits: object) -> None:
    made = trial("none", 10, 1.0, 50)
    assert spent([replace(made, provenance={**made.provenance, "visits": visits})]) == spent([made])
