"""Data that cannot be had end a sweep in one line, before an environment is built or a checkpoint made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import flows.orchestration.sweep
from evals.data.local_root import DataError
from flows.execute import rows
from flows.execute.spec import load_sweep_tasks, require_data
from flows.plan.source import load_plan
from flows.sources.samples import SourceError
from flows.validate.plan import check
from flows.validate.resolved import ResolvedPlan
from tests.support.fake_sweep import install, write_plan
from tests.support.hub_server import Hub, serving, use

ARC = "datasets/allenai/ai2_arc"


@pytest.fixture
def hub(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    install(monkeypatch.setattr)
    served = Hub()
    with serving(served) as address:
        use(monkeypatch, address, workplace / "hf")
        yield served


def _plan(workplace: Path, **changes: object) -> Path:
    plan = write_plan(workplace, ["none"])
    plan.write_text(yaml.safe_dump({**yaml.safe_load(plan.read_text()), "data": "hub", **changes}))
    return plan


def _checked(workplace: Path, **changes: object) -> ResolvedPlan:
    return check(load_plan(_plan(workplace, **changes)))


@pytest.mark.usefixtures("prefect")
def test_the_hub_s_data_offline_are_one_error_before_any_work(
    hub: Hub, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, "http://127.0.0.1:9", workplace / "hf", offline=True)
    begun: list[str] = []
    monkeypatch.setattr(flows.orchestration.sweep, "build_all", lambda *_: begun.append("build"))
    monkeypatch.setattr(rows, "quantize_row", lambda *_: begun.append("quantize"))
    with pytest.raises(SourceError, match="hub data set 'allenai/ai2_arc' is not in the local cache, and HF_HUB_OFFLI"):
        flows.orchestration.sweep.sweep(plan=str(_plan(workplace)), runs=str(workplace / "runs"))
    assert begun == []


def test_all_data_sets_of_a_plan_are_asked_for(hub: Hub, workplace: Path) -> None:
    hub.add(ARC, {"README.md": b"x"})
    require_data(_checked(workplace))
    with pytest.raises(SourceError, match="hub data set 'Salesforce/wikitext' is not on the hub"):
        require_data(_checked(workplace, perplexity=[{"convention": "papers", "max_length": 32}]))
    with pytest.raises(SourceError, match="hub data set 'cais/mmlu' is not on the hub"):
        require_data(_checked(workplace, tasks=[{"task": "mmlu", "limit": 4}]))


def test_data_that_were_read_before_need_no_hub(hub: Hub, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = _checked(workplace)
    use(monkeypatch, "http://127.0.0.1:9", workplace / "hf", offline=True)
    (workplace / "hf" / "datasets" / "allenai___ai2_arc" / "ARC-Easy" / "0.0.0" / "hash").mkdir(parents=True)
    require_data(checked)


def test_rows_that_cannot_be_read_are_one_line_before_a_checkpoint_is_made(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.execute.worker_process import Here
    from flows.state.progress_display import LogDisplay
    from tests.support.fake_sweep import prepared_run

    install(monkeypatch.setattr)
    prepared = prepared_run(workplace)
    for file in (workplace / "root").rglob("*.parquet"):
        file.write_bytes(b"no parquet")
    made: list[str] = []
    monkeypatch.setattr(rows, "quantize_row", lambda *_: made.append("quantize"))
    with pytest.raises(DataError, match=r"the data of the tasks \(`data: root`\): cannot be read .*Correct `data`"):
        Here(prepared).quantize(prepared.rows[0], LogDisplay(lambda _: None))
    assert made == []


def test_a_local_root_is_asked_of_no_hub(hub: Hub, workplace: Path) -> None:
    checked = _checked(workplace, data="root")
    require_data(checked)
    assert hub.requests == []
    assert load_sweep_tasks(checked).leaves
