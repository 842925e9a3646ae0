"""Which files of this machine a plan names, and where they lie in a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.bundle.contents import BadBundle
from flows.bundle.local_files import local_files
from flows.validate.plan import load_and_check
from tests.support.fake_sweep import install, write_plan
from tests.support.own_tasks import CHOICE, write_own_tasks, write_task


def _paths(place: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> set[str]:
    install(monkeypatch.setattr)
    plan = write_plan(place, ["none"])
    plan.write_text(yaml.safe_dump({**yaml.safe_load(plan.read_text()), **changes}, sort_keys=False))
    return {copy.path for copy in local_files(load_and_check(plan))[1]}


def test_own_tasks_lie_in_a_bundle_with_their_data(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write_own_tasks(workplace / "mine")
    write_task(own / "hidden.yaml", **{**CHOICE, "dataset_kwargs": {"data_files": {"test": ".d/a.jsonl"}}})
    (own / ".d").mkdir()
    (own / ".d" / "a.jsonl").touch()
    paths = _paths(workplace, monkeypatch, tasks_path="mine", tasks=[{"task": "towns", "limit": 3}])
    named = ("capitals.yaml", "more/two.yaml", "data/test.jsonl", ".d/a.jsonl")
    assert {f"files/mine/{name}" for name in named} <= paths
    assert "files/root/allenai/ai2_arc/README.md" in paths


def test_data_of_own_tasks_that_lie_elsewhere_are_refused(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write_own_tasks(workplace / "mine")
    (own / "data" / "test.jsonl").rename(workplace / "test.jsonl")
    (own / "data" / "test.jsonl").symlink_to(workplace / "test.jsonl")
    with pytest.raises(BadBundle, match=r"task 'capitals' reads .*test\.jsonl\. Put it into .*mine, named relative to"):
        _paths(workplace, monkeypatch, tasks_path="mine", tasks=[{"task": "capitals", "limit": 3}])


def test_own_tasks_of_one_machine_alone_are_refused(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write_own_tasks(workplace / "mine")
    with pytest.raises(BadBundle, match=r"names /.*/mine, which is a place of this machine alone"):
        _paths(workplace, monkeypatch, tasks_path=str(own), tasks=[{"task": "capitals", "limit": 3}])
