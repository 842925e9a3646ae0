"""What came by Prefect names nothing that is not ours, whichever flow it is and however the plan came."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.bundle.contents import BadBundle
from flows.orchestration.distributed import Source, cell
from flows.orchestration.single import measure
from flows.orchestration.sweep import sweep
from flows.plan.outside import ALLOW
from flows.plan.source import PlanError
from tests.support.fake_sweep import install, write_plan
from tests.support.planted_code import planted_interpreter

pytestmark = pytest.mark.usefixtures("prefect")
ATTACH = {"url": "https://example.org", "key_variable": "AWS_SECRET_ACCESS_KEY"}


@pytest.fixture
def here(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workplace, as the flows of a deployment see it."""
    install(monkeypatch.setattr)
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a deployment's")  # Prefect's own way of planting it
    return workplace


def _plan(folder: Path, **changes: Any) -> dict[str, Any]:
    plan: dict[str, Any] = yaml.safe_load(write_plan(folder, ["none"]).read_text())
    models = {"models": [str(folder / "tiny")], "data": str(folder / "root"), "environments": {}}
    return {**plan, **models, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"environments": {"transformers": {"image": "theirs", "mounts": ["/:/host"]}}}, "image theirs"),
        ({"engines": [{"engine": "fake", "attach": ATTACH}]}, "server https://example.org"),
        ({"engines": [{"engine": "fake", "env": {"LD_PRELOAD": "/tmp/x.so"}}]}, "arguments LD_PRELOAD=/tmp/x"),
        ({"engines": [{"engine": "fake", "arguments": ["--x"]}]}, "arguments --x"),
        ({"engines": [{"engine": "llama_cpp", "options": {"executable": "/tmp/x"}}]}, "executable /tmp/x"),
    ],
)
def test_a_form_with_what_is_not_ours_is_refused(here: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(
        PlanError, match=rf"plan.yaml:\d+: a plan from Prefect names a program that is not bitfrontier's: {message}"
    ) as refused:
        sweep(plan=_plan(here, **changes), runs=str(here / "runs"))
    assert "start the worker with BITFRONTIER_ALLOW_PROGRAMS=1" in str(refused.value)


def test_a_bundle_of_a_deployment_s_run_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its packages would be run."""
    file = write_plan(here, ["none"])
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "environments": {}}))
    expected = r"a run that came by Prefect names the bundle .*/theirs, whose packages would be run\. If you trust all"
    with pytest.raises(BadBundle, match=expected):
        sweep(plan=str(file), runs=str(here / "runs"), bundle=str(here / "theirs"))
    monkeypatch.setenv(ALLOW, "1")
    with pytest.raises(BadBundle, match="theirs is no folder"):
        sweep(plan=str(file), runs=str(here / "runs"), bundle=str(here / "theirs"))


@pytest.mark.parametrize("form", [True, False], ids=["a form", "a file on this machine"])
def test_an_interpreter_of_a_plan_is_not_started(here: Path, monkeypatch: pytest.MonkeyPatch, *, form: bool) -> None:
    python, marker = planted_interpreter(here)
    plan = _plan(here, environments={"transformers": {"python": str(python)}})
    (here / "plan.yaml").write_text(yaml.safe_dump(plan))
    given = plan if form else str(here / "plan.yaml")
    with pytest.raises(PlanError, match=f"names a program that is not bitfrontier's: interpreter {python}"):
        sweep(plan=given, runs=str(here / "runs"))
    state = cell(Source(str(here / "plan.yaml")), str(here / "store"), "trials/x", return_state=True)
    assert (
        f"names a program that is not bitfrontier's: interpreter {python}" in json.loads(state.message or "")["cause"]
    )
    assert not marker.exists()


def test_a_cell_s_form_may_name_no_server(here: Path) -> None:
    load = [{"concurrency": 1, "requests": 2, "prompt_tokens": 4, "output_tokens": 4}]
    with pytest.raises(PlanError, match=r"names a program that is not bitfrontier's: server https://example\.org"):
        measure(
            model=str(here / "tiny"),
            method={"method": "none"},  # type: ignore[arg-type]
            engine={"engine": "fake", "attach": ATTACH},  # type: ignore[arg-type]
            load=load,  # type: ignore[arg-type]
            tasks=[{"task": "arc_easy"}],  # type: ignore[list-item]
            runs=str(here / "runs"),
        )


def test_whoever_starts_the_worker_may_allow_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_plan(here, ["none"])
    monkeypatch.setenv(ALLOW, "yes")
    with pytest.raises(PlanError, match="names a program that is not bitfrontier's: interpreter "):
        sweep(plan=str(file), runs=str(here / "runs"))
    monkeypatch.setenv(ALLOW, "1")
    assert Path(sweep(plan=str(file), runs=str(here / "runs"))).exists()
