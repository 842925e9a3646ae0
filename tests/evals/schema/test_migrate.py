"""Files of every older version are read, with the figures that they had; newer ones are refused in one line."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

from evals.schema.migrate import LOAD_NAMES, NO_TOKENS, SCHEMA_VERSION, NewerSchema, migrate_trial
from evals.schema.run_file import NoRun, read_run
from evals.schema.trial_file import UnreadableTrial, read_trial
from flows.state.status import cell_states
from reports.compare.runs import compare
from reports.decision.results import read_results
from reports.output.html_report import write_report

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(int(folder.name) for folder in GOLDEN.iterdir())


def test_there_is_a_golden_run_of_every_older_version() -> None:
    assert list(range(1, SCHEMA_VERSION)) == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_of_an_older_version_has_a_report_a_status_and_a_comparison(version: int, tmp_path: Path) -> None:
    run = shutil.copytree(GOLDEN / str(version), tmp_path / "run")
    results = read_results(run)
    rates = [load.output_rate.value for cell in results.cells for load in cell.loads]
    assert len(rates) == 2
    assert all(math.isfinite(rate) and rate > 0 for rate in rates)
    assert "rtn W4A16-g64" in write_report(run).read_text(encoding="utf-8")
    assert [(cell.cell, cell.state) for cell in cell_states(run)] == [
        ("none float16 · transformers", "ok"),
        ("rtn W4A16-g64 · transformers", "ok"),
    ]
    assert len(compare(read_results(run), results).cells) == 2


def test_what_was_renamed_keeps_its_value() -> None:
    raw = json.loads((GOLDEN / "2" / "trials" / "rtn.json").read_text(encoding="utf-8"))
    trial = read_trial(GOLDEN / "2" / "trials" / "rtn.json")
    assert (trial.scores[0].num_fewshot, list(trial.scores[0].margins)) == (
        raw["scores"][0]["shots"],
        raw["scores"][0]["leads"],
    )
    assert [predictions.greedy for predictions in trial.predictions] == [tuple(c["greedy"]) for c in raw["closeness"]]
    load = raw["speed"][0]["load"]
    assert {new: getattr(trial.speed[0].load, new) for new in LOAD_NAMES.values()} == {
        new: load[old] for old, new in LOAD_NAMES.items()
    }
    assert trial.schema_version == SCHEMA_VERSION
    run = read_run(GOLDEN / "2")
    assert (run["slo"]["percentile"], run["price"]["max_cost_per_million_tokens"]) == (90.0, 2.0)


def test_perplexities_without_tokens_are_left_out_and_that_is_said() -> None:
    trial = read_trial(GOLDEN / "1" / "trials" / "rtn.json")
    assert (trial.perplexities, trial.facts["migrated"]) == ((), NO_TOKENS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", r"0\.json: it is damaged \(JSONDecodeError.*Delete it and sweep again"),
        ("[]", r"0\.json: list in place of a trial"),
        ('{"schema_version": 3, "key": 1}', r"0\.json: it is damaged \(key: "),
        ('{"schema_version": 2, "speed": [{}]}', r"0\.json: it is damaged \(KeyError: 'load'\)"),
    ],
)
def test_a_damaged_trial_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "0.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UnreadableTrial, match=words):
        read_trial(file)


@pytest.mark.parametrize("version", [99, "new", None])
def test_a_newer_version_is_refused(tmp_path: Path, version: object) -> None:
    words = (
        rf"json: schema version {version} is newer than this program's \(3\). Read it with the program that wrote it"
    )
    (tmp_path / "0.json").write_text(json.dumps({"schema_version": version}), encoding="utf-8")
    with pytest.raises(NewerSchema, match=words):
        read_trial(tmp_path / "0.json")
    (tmp_path / "sweep.json").write_text(json.dumps({"schema_version": version, "trials": []}), encoding="utf-8")
    with pytest.raises(NewerSchema, match=words):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"), [("{", "it is damaged"), ("{}", "names no trials"), ("3", "names no trials")]
)
def test_a_damaged_run_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "sweep.json").write_text(text, encoding="utf-8")
    with pytest.raises(NoRun, match=rf"sweep\.json: it {words}|sweep\.json: {words}"):
        read_run(tmp_path)


def test_an_old_kind_of_failure_is_todays_slug() -> None:
    failure = {"kind": "hang", "cause": "c", "remedy": "r", "log_tail": ""}
    assert migrate_trial({"schema_version": 2, "failure": failure})["failure"] == {**failure, "kind": "timeout"}
