"""The flows for one thing at a time, over a fake engine, and what Prefect shows of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from evals.schema.run_file import NoRun
from evals.schema.trial_file import read_trial
from flows.orchestration.api_server import unwatched
from flows.plan.source import PlanError
from quant.types import CHECKPOINT_RECORD
from tests.support.fake_sweep import install, write_plan

pytestmark = pytest.mark.usefixtures("prefect")
ENGINE = {"engine": "fake"}
LOAD = [{"concurrency": 1, "requests": 2, "prompt_tokens": 4, "output_tokens": 4}]


@pytest.fixture
def here(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workplace with fake methods and engines; environments are this one."""
    install(monkeypatch.setattr)
    from engines.runtime.environments import Environment
    from tests.support.fake_engine import HERE

    def resolve(name: str, stand_in: object = None) -> Environment:
        return Environment(name, name, HERE.command)

    monkeypatch.setattr("engines.runtime.environments.resolve", resolve)
    monkeypatch.setattr("flows.orchestration.single.resolve", resolve)
    return workplace


def _conditions(folder: Path) -> dict[str, Any]:
    return {"device": "cpu", "repeats": 2, "max_length": 64, "data": str(folder / "root")}


def _measure(folder: Path, **other: Any) -> Path:
    from flows.orchestration.single import measure

    given = {
        "model": str(folder / "tiny"),
        "method": {"method": "none"},
        "engine": ENGINE,
        "load": LOAD,
        "tasks": [{"task": "arc_easy", "limit": 4}],
        "conditions": _conditions(folder),
        "runs": str(folder / "runs"),
    }
    return Path(measure(**{**given, **other}))


def _task_runs(flow_name: str) -> list[str]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    with get_client(sync_client=True) as client:
        task_runs = client.read_task_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow_name])))
    return [task_run.name for task_run in task_runs]


def _artifacts(name: str) -> dict[str, Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(like_=f"{name}-")))
    latest = sorted(artifacts, key=lambda artifact: str(artifact.updated))  # they come in the order of random ids
    return {str(artifact.key).removeprefix(f"{name}-"): artifact for artifact in latest}


def test_one_cell_is_measured_shown_and_reported_again(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.orchestration.single import report

    page = _measure(here)
    trial = read_trial(next((page.parent / "trials").glob("*.json")))
    assert (trial.status, trial.reason) == ("ok", "")
    shown = _artifacts(page.parent.name)
    assert shown["cells"].data == 100.0
    assert page.as_uri() in shown["report"].data
    monkeypatch.setenv("BITFRONTIER_REPORTS_URL", "http://127.0.0.1:4201/")
    report(folder=str(page.parent))
    assert f"http://127.0.0.1:4201/{page.parent.name}/report.html" in _artifacts(page.parent.name)["report"].data
    assert "none float16 · fake" in json.loads(shown["results"].data)[0]["cell"]
    figures = len(list((page.parent / "figures").glob("*.svg")))
    assert shown["figures"].data.count("](data:image/svg+xml;base64,") == figures > 0
    names = _task_runs("measure")
    assert {"measure none float16 · fake · arc_easy", "start", "gates", "task arc_easy", "report"} <= set(names)
    assert any(name.startswith("load concurrency") for name in names)

    again = _artifacts(page.parent.name)
    page.unlink()
    token = unwatched.set(True)
    try:
        assert Path(report(folder=str(page.parent))) == page
    finally:
        unwatched.reset(token)
    assert page.exists()
    assert _artifacts(page.parent.name)["report"].id == again["report"].id  # nothing is shown where nobody looks
    with pytest.raises(NoRun, match=r"has no sweep\.json"):
        report(folder=str(here))


def test_bad_parameters_are_refused_with_their_fix(here: Path) -> None:
    with pytest.raises(PlanError, match=r"plan.yaml:\d+: unknown engine 'fke'\n  fix: did you mean 'fake'") as error:
        _measure(here, engine={"engine": "fke"}, tasks=[{"task": "arc_esay"}])
    assert "unknown task 'arc_esay'\n  fix: did you mean 'arc_easy'?" in str(error.value)
    with pytest.raises(PlanError, match=r"'load\[0\].requests' is missing"):
        _measure(here, load=[{"concurrency": 1, "prompt_tokens": 4, "output_tokens": 4}])
    assert not (here / "cache" / "checkpoints").exists()


def test_a_checkpoint_is_made_once(here: Path) -> None:
    from flows.orchestration.single import quantize

    given = {"model": str(here / "tiny"), "runs": str(here / "runs")}
    (folder,) = quantize(method={"method": "none"}, **given)
    record = Path(folder) / CHECKPOINT_RECORD
    before = record.stat().st_mtime_ns
    assert quantize(method={"method": "none"}, **given) == [folder]
    assert record.stat().st_mtime_ns == before
    assert "16.00 bits per weight" in _artifacts("tiny-none")["float16"].data
    with pytest.raises(PlanError, match=r"unknown method 'nun'\n  fix: allowed here: .*none, other,"):
        quantize(method={"method": "nun"}, **given)


def test_a_method_that_does_not_run_here_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    import flows.validate.methods
    import flows.validate.plan
    from flows.orchestration.single import quantize
    from tests.support.fake_sweep import fake_methods

    never = {
        name: replace(fake_method, unsupported=lambda kind: f"not on {kind}")
        for name, fake_method in fake_methods().items()
    }
    monkeypatch.setattr(flows.validate.methods, "methods", lambda: never)
    with pytest.raises(PlanError, match=r"plan.yaml:\d+: not on cpu\n  fix: choose another method"):
        quantize(model=str(here / "tiny"), method={"method": "none"}, runs=str(here / "runs"))


def test_a_plan_is_filled_in_as_a_form(here: Path) -> None:
    from flows.orchestration.sweep import sweep

    plan = yaml.safe_load(write_plan(here, ["none"]).read_text())
    plan |= {"models": [str(here / "tiny")], "data": str(here / "root"), "name": "a-form"}
    token = unwatched.set(True)
    try:
        page = Path(sweep(plan=plan, runs=str(here / "runs")))
    finally:
        unwatched.reset(token)
    assert yaml.safe_load((page.parent / "plan.yaml").read_text()) == plan
    assert _artifacts("a-form") == {}


NEW_METHOD = '''
from pathlib import Path
from shutil import copytree

from quant.registry import method
from quant.types import Scheme


@method("copies", format="safetensors", environment="llmcompressor", scheme=lambda _: Scheme("float16", "float16"))
def copies(model: Path, out: Path) -> None:
    """Copies the model."""
    copytree(model, out, dirs_exist_ok=True)
'''


def test_a_method_in_a_new_file_is_a_task_run_without_another_edit(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import flows.validate.methods
    import flows.validate.plan
    import quant.methods
    from flows.orchestration.single import quantize
    from quant.registry import registered_methods

    (here / "more").mkdir()
    (here / "more" / "copies.py").write_text(NEW_METHOD)
    monkeypatch.setattr(quant.methods, "__path__", [*quant.methods.__path__, str(here / "more")])
    monkeypatch.setattr(flows.validate.methods, "methods", lambda: registered_methods.__wrapped__()[0])
    (folder,) = quantize(model=str(here / "tiny"), method={"method": "copies"}, runs=str(here / "runs"))
    assert json.loads((Path(folder) / CHECKPOINT_RECORD).read_text())["spec"]["method"] == "copies"
    assert "quantize copies float16 · tiny" in _task_runs("quantize")
