"""The flow end to end over a fake engine: what fails becomes a row, what is finished is not done again."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml

from evals.schema.trial import Trial
from evals.schema.trial_file import read_trial
from flows.cli import plan_command, sweep_command
from flows.cli.retry import drop_failed
from flows.plan.source import load_plan
from flows.sources.samples import SourceError
from flows.state.run_log import RUN_LOG
from flows.validate.plan import check
from tests.support.emulator import emulate
from tests.support.fake_sweep import install, write_plan

pytestmark = pytest.mark.usefixtures("prefect")
METHODS = ["none", "raises", "writes_nothing", "other"]


def _sweep(workplace: Path, methods: list[str] | None = None) -> dict[str, Trial]:
    from flows.orchestration.sweep import sweep

    report = Path(sweep(plan=str(write_plan(workplace, methods or METHODS)), runs=str(workplace / "runs")))
    assert report.exists()
    names = json.loads((report.parent / "sweep.json").read_text())["trials"]
    trials = [read_trial(report.parent / "trials" / name) for name in names]
    return {trial.method: trial for trial in trials}


def test_every_cell_becomes_a_row(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    trials = _sweep(workplace)
    assert {name: trial.status for name, trial in trials.items()} == {
        "none": "ok",
        "raises": "failed",
        "writes_nothing": "failed",
        "other": "unsupported",
    }
    assert "RuntimeError: this method has no luck" in trials["raises"].reason
    assert "no *.safetensors file" in trials["writes_nothing"].reason
    assert trials["other"].reason == "the fake engine reads no other format"
    good = trials["none"]
    assert [gate.name for gate in good.gates] == ["source's grid", "golden prompt", "sanity", "whole contexts"]
    assert len(good.scores[0].values) == 4
    assert [len(repeat) for repeat in good.speed[0].repeats] == [2, 2]
    assert good.memory is not None
    assert good.memory.kv_cache_bytes == 77
    assert good.checkpoint is not None
    assert good.checkpoint["bits_per_weight"] == 16.0
    assert good.checkpoint["decode_bytes"] == 1536 + 18432 + 36864 + 192
    assert "kernel_warnings" not in good.facts


def test_the_run_s_log_tells_of_the_whole_sweep_and_of_no_key(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []
    new_key = secrets.token_hex

    def remembered(size: int) -> str:
        keys.append(new_key(size))
        return keys[-1]

    monkeypatch.setattr("engines.runtime.server.secrets.token_hex", remembered)
    install(monkeypatch.setattr)
    _sweep(workplace, ["none"])
    text = (workplace / "runs" / "fake" / RUN_LOG).read_text()
    for words in ("Prefect server: http://", "packages from: ", "device: ", "answers after", "written to", "wrote "):
        assert words in text
    assert keys
    assert not [key for key in keys if key in text]


def test_a_slow_kernel_is_flagged_from_the_log_to_the_page(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr, behaviour="slow-kernel")
    trial = _sweep(workplace, ["none"])["none"]
    assert trial.facts["fact"] == 42
    assert trial.facts["kernel_warnings"].startswith(
        "the engine itself calls its x kernels slower than no quantization"
    )
    assert trial.provenance["bandwidth"]["bytes_per_second"] == 1e10
    measured = trial.provenance["measured"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", measured["started"])
    assert re.fullmatch(r"[0-9a-f]{12}", measured["host"])
    assert measured["cpu"]
    page = (workplace / "runs" / "fake" / "report.html").read_text()
    assert "Slow path: the engine itself calls its x kernels" in page
    assert "ran on a slow path: the engine itself calls its x kernels" in page


def test_own_prompts_are_read_twice_and_answers_kept(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.orchestration.sweep import sweep

    install(monkeypatch.setattr)
    file = write_plan(workplace, ["none"])
    (workplace / "mine.jsonl").write_text('{"prompt": "a b c d"}\n{"prompt": "e f a"}\n')
    plan = yaml.safe_load(file.read_text())
    plan["kl_divergence"] = [{"prompts": "mine.jsonl", "positions": 2}]
    plan["accuracy"] = {"budget": "adaptive"}
    file.write_text(yaml.safe_dump(plan))
    report = Path(sweep(plan=str(file), runs=str(workplace / "runs")))
    trial = read_trial(next((report.parent / "trials").glob("*.json")))
    assert (trial.status, trial.reason) == ("ok", "")
    assert [(reading.text, reading.repeat, len(reading.logprobs)) for reading in trial.predictions] == [
        ("mine.jsonl", False, 2),
        ("mine.jsonl", True, 2),
    ]
    assert trial.provenance["accuracy"]["budget"] == "adaptive"
    assert len(list((workplace / "cache" / "answers").glob("*.sqlite"))) == 1
    (workplace / "mine.jsonl").write_text('{"prompt": "a b c d"}\n')
    sweep(plan=str(file), runs=str(workplace / "runs"))
    assert len(list((report.parent / "trials").glob("*.json"))) == 2  # other prompts are another measurement


def test_a_trace_is_replayed_and_its_content_is_part_of_the_measurement(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.orchestration.sweep import sweep

    install(monkeypatch.setattr)
    file = write_plan(workplace, ["none"])
    rows = [{"timestamp": 20 * n, "input_length": 4 + n % 3, "output_length": 1 + n % 4} for n in range(12)]
    plan = yaml.safe_load(file.read_text()) | {"load": [{"trace": "trace.jsonl", "trace_speedup": 2}]}
    file.write_text(yaml.safe_dump(plan))

    def write_and_sweep() -> Path:
        (workplace / "trace.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return Path(sweep(plan=str(file), runs=str(workplace / "runs")))

    report = write_and_sweep()
    (trial,) = [read_trial(path) for path in (report.parent / "trials").glob("*.json")]
    assert (trial.status, trial.reason) == ("ok", "")
    (speed,) = trial.speed
    assert (speed.load.trace, speed.load.requests, speed.load.sizes) == ("trace.jsonl", 12, "≤ 6 / ≤ 4")
    for repeat in speed.repeats:
        assert [request.output_tokens for request in repeat] == [1 + n % 4 for n in range(12)]
        assert [request.due_seconds for request in repeat] == pytest.approx([0.01 * n for n in range(12)])
    page = report.read_text()
    assert "trace.jsonl: replayed at 2 × its speed, 100 requests/s" in page
    assert "≤ 6 / ≤ 4" in page
    assert write_and_sweep() == report
    rows[-1]["timestamp"] = 400
    write_and_sweep()
    assert len(list((report.parent / "trials").glob("*.json"))) == 2


def test_a_model_without_chat_template_is_refused_before_any_work(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.orchestration.sweep import sweep

    install(monkeypatch.setattr)
    file = write_plan(workplace, ["none"])
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"accuracy": {"chat_template": True}}))
    with pytest.raises(SourceError, match="tiny has no chat template"):
        sweep(plan=str(file), runs=str(workplace / "runs"))
    assert not list((workplace / "cache").glob("checkpoints/*"))


def test_an_attached_server_is_measured_and_left_alone(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.orchestration.sweep import sweep

    install(monkeypatch.setattr)
    monkeypatch.setenv("THEIR_KEY", "their-key")
    file = write_plan(workplace, ["none"])
    with emulate("good", key="their-key") as url:
        plan = yaml.safe_load(file.read_text())
        plan["engines"][0]["attach"] = {"url": url, "key_variable": "THEIR_KEY"}
        file.write_text(yaml.safe_dump(plan))
        report = Path(sweep(plan=str(file), runs=str(workplace / "runs")))
        assert httpx.get(url + "/health").status_code == 200
    (trial,) = [read_trial(path) for path in (report.parent / "trials").iterdir()]
    assert (trial.status, trial.reason) == ("ok", "")
    assert trial.memory is None
    assert trial.provenance["attached"] == url
    assert len(trial.speed[0].repeats) == 2
    assert "their-key" not in "".join(p.read_text() for p in report.parent.rglob("*") if p.suffix in (".json", ".html"))


def test_a_second_run_repeats_nothing(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    _sweep(workplace)
    again = ("sweep.json", "summary.json", "results.csv-metadata.json")  # of the report, which is written again
    before = {p: p.stat().st_mtime_ns for p in (workplace / "runs").rglob("*.json") if p.name not in again}
    sweep = check(load_plan(workplace / "plan.yaml"))
    assert sweep_command.already_done(sweep, workplace / "runs") == workplace / "runs/fake/report.html"
    _sweep(workplace)
    assert {p: p.stat().st_mtime_ns for p in before} == before
    described = plan_command.describe_plan(sweep, workplace / "runs")
    count = len(described["cells"])
    assert plan_command._before_lines(described) == [
        f"all of it ended before ({count} cells): a sweep measures nothing again"
    ]
    next((workplace / "runs/fake/trials").glob("*.json")).unlink()
    (line,) = plan_command._before_lines(plan_command.describe_plan(sweep, workplace / "runs"))
    assert line == f"{count - 1} of {count} cells ended before; the time above is that of all"


def test_only_what_is_missing_is_done(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    _sweep(workplace, ["none"])
    (trial,) = (workplace / "runs/fake/trials").iterdir()
    first = trial.stat().st_mtime_ns
    trials = _sweep(workplace, ["none", "other", "raises"])
    assert trial.stat().st_mtime_ns == first
    assert set(trials) == {"none", "other", "raises"}


def test_models_whose_folders_have_one_name_are_apart(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a baseline of its own; what was measured under the short name is not measured again."""
    from flows.orchestration.sweep import sweep

    install(monkeypatch.setattr)
    plan = write_plan(workplace, ["none"])
    for place in ("a", "b"):
        shutil.copytree(workplace / "tiny", workplace / place / "tiny")
    (workplace / "b" / "tiny" / "tokenizer_config.json").write_text(
        json.dumps({**json.loads((workplace / "b/tiny/tokenizer_config.json").read_text()), "other": 1})
    )
    given = yaml.safe_load(plan.read_text())
    plan.write_text(yaml.safe_dump({**given, "models": ["a/tiny"]}))
    sweep(plan=str(plan), runs=str(workplace / "runs"))
    (before,) = (read_trial(file) for file in (workplace / "runs/fake/trials").iterdir())
    plan.write_text(yaml.safe_dump({**given, "models": ["a/tiny", "b/tiny"]}))
    sweep(plan=str(plan), runs=str(workplace / "runs"))
    trials = [read_trial(file) for file in (workplace / "runs/fake/trials").iterdir()]
    by_model = {trial.model: trial for trial in trials if trial.model != "tiny"}
    assert before.model == "tiny"
    assert set(by_model) == {"a/tiny", "b/tiny"}
    assert by_model["a/tiny"] == replace(before, model="a/tiny")
    assert by_model["a/tiny"].server != by_model["b/tiny"].server


def test_a_half_written_checkpoint_is_not_trusted(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    _sweep(workplace, ["none"])
    (folder,) = [p for p in (workplace / "cache/checkpoints").iterdir() if p.is_dir()]
    record = folder / "bitfrontier-checkpoint.json"
    record.unlink()
    for kind in ("trials", "parts"):
        for file in (workplace / "runs/fake" / kind).iterdir():
            file.unlink()
    assert _sweep(workplace, ["none"])["none"].status == "ok"
    assert record.exists()


def test_failed_cells_are_kept_until_asked(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    _sweep(workplace, ["none", "raises"])
    sweep = check(load_plan(workplace / "plan.yaml"))
    assert sweep_command.already_done(sweep, workplace / "runs") is not None
    drop_failed(workplace / "runs/fake")
    assert sweep_command.already_done(sweep, workplace / "runs") is None
    left = [read_trial(p).status for p in (workplace / "runs/fake/trials").iterdir()]
    assert left == ["ok"]


def test_an_engine_that_fails_its_golden_prompt_measures_nothing(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr, golden_offset=0.5)
    trials = _sweep(workplace, ["none", "other", "raises"])
    assert trials["none"].status == "failed"
    assert "gate 'golden prompt' failed" in trials["none"].reason
    assert trials["none"].speed == ()


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("exits", "no such kernel on this machine"), ("wrong-counts", "were asked for"), ("error", "answered 500")],
)
def test_an_engine_that_misbehaves_is_a_row(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, reason: str
) -> None:
    install(monkeypatch.setattr, behaviour=behaviour)
    trial = _sweep(workplace, ["none"])["none"]
    assert trial.status == "failed"
    assert reason in trial.reason
