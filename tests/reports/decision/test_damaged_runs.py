"""A trial that cannot be read or computed is a row; the others' report is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evals.schema.accuracy import Predictions
from evals.schema.race_file import RaceState, Rules, write_race
from evals.schema.run_file import NoRun
from reports.decision.results import read_results
from reports.metrics.divergence import read_distributions
from reports.output.html_report import write_report
from tests.support.made_runs import write_run
from tests.support.made_trials import trial


def test_a_damaged_trial_is_a_failed_row(tmp_path: Path) -> None:
    run = write_run(tmp_path, trial("none", 10, 2.0, 80), trial("rtn", 20, 1.0, 78, 2.05))
    (run / "trials" / "1.json").write_text("{")
    results = read_results(run)
    assert [each.status for each in results.trials] == ["ok", "failed"]
    assert "1.json: it is damaged" in results.trials[1].why
    assert "it is damaged" in write_report(run).read_text()


def test_a_trial_of_which_nothing_can_be_computed_is_a_failed_row(tmp_path: Path) -> None:
    broken = trial("rtn", 20, 1.0, 78, 2.05)
    requests = [replace(request, end_seconds=1e308, output_tokens=-(2**1000)) for request in broken.speed[0].repeats[0]]
    speed = replace(broken.speed[0], repeats=(tuple(requests), ()))
    run = write_run(tmp_path, trial("none", 10, 2.0, 80), replace(broken, speed=(speed,)))
    results = read_results(run)
    assert [each.status for each in results.trials] == ["ok", "failed"]
    assert "no figures can be computed of it" in results.trials[1].why


def test_a_damaged_control_of_a_race_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = write_run(tmp_path, trial("none", 10, 2.0, 80), trial("rtn", 20, 1.0, 78, 2.05))
    write_race(run, RaceState(Rules(6, 0.03, 0.05), control="control-0123456789ab.json"))
    (run / "trials" / "control-0123456789ab.json").write_text("{")
    results = read_results(run)
    assert results.control is None
    assert [each.status for each in results.trials] == ["ok", "ok"]
    read_results(run)
    assert caplog.text.count("the race's control is left out: ") == 1


def test_a_run_that_tells_too_little(tmp_path: Path) -> None:
    run = write_run(tmp_path, trial("none", 10, 2.0, 80))
    about = json.loads((run / "sweep.json").read_text())
    del about["limits"]
    (run / "sweep.json").write_text(json.dumps(about))
    with pytest.raises(NoRun, match=r"sweep\.json: it lacks `limits`\. Sweep its plan again"):
        read_results(run)


def test_limits_that_are_none_of_ours(tmp_path: Path) -> None:
    run = write_run(tmp_path, trial("none", 10, 2.0, 80), limits={"speed": 1.0})
    with pytest.raises(NoRun, match=r"its results are damaged \(TypeError: .*Sweep its plan again"):
        read_results(run)


READING = Predictions("wikitext2", "0", ((-1.0, -2.0),) * 2, ("a", "b"), -1, "0.npz")


@pytest.mark.parametrize("content", [b"", b"PK", b"\x80\x04K\x01.", b"x" * 100])
def test_damaged_distributions_are_none(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "0.npz").write_bytes(content)
    assert read_distributions(READING, tmp_path) is None
    assert "0.npz: cannot be read" in caplog.text


def test_distributions_of_another_trial_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.savez(tmp_path / "0.npz", logprobs=np.zeros((3, 8)))
    assert read_distributions(READING, tmp_path) is None
    assert "0.npz: its arrays have other shapes than its trial says" in caplog.text
    assert read_distributions(replace(READING, file="../0.npz"), tmp_path / "x") is None
    np.savez(tmp_path / "0.npz", logprobs=np.zeros((4, 8)))
    assert read_distributions(READING, tmp_path) is not None
