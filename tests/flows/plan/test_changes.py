"""`--set`, `--only`, `--exclude` and `--minutes`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.cli.app import changes_from
from flows.plan.changes import Changes, UnusableChange, changes_of
from flows.plan.source import PlanError, load_plan
from flows.validate.matrix import Cell
from flows.validate.plan import check, load_and_check, selected


def test_values_are_set_by_dots_and_indexes_and_read_as_yaml() -> None:
    sets = ("race.rounds=4", "load[0].concurrency=8", "models.0=hub:a/b", "limits.kl_nats=5e-3", "methods=[none]")
    parsed = load_plan(Path("quickstart"), Changes(sets))
    plan = parsed.plan
    assert plan.race is not None
    assert (plan.race.rounds, plan.load[0].concurrency) == (4, 8)
    assert (plan.models, plan.limits.kl_nats, plan.methods[0].method) == (["hub:a/b"], 0.005, "none")
    assert yaml.safe_load(parsed.text)["load"][0]["concurrency"] == 8
    assert "# The quick start" in parsed.text


def test_without_a_set_the_text_is_the_file() -> None:
    parsed = load_plan(Path("quickstart"), Changes(only=("gguf*",)))
    assert parsed.text == parsed.file.read_text(encoding="utf-8")


def test_a_part_that_the_plan_lacks_is_made() -> None:
    assert load_plan(Path("quickstart"), Changes(("memory.gib=[8]",))).plan.memory.gib == [8]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("repeats", "it is not KEY=VALUE"),
        ("a..b=3", "it is not KEY=VALUE"),
        ("load[9].requests=1", "`load` has entry 0 alone, not 9. Give an entry's number, as in `load"),
        ("load.concurrency=8", "`load` has entry 0 alone, not 'concurrency'. Give an entry's number"),
        (".load=[chat]", "it is not KEY=VALUE"),
        ("x" * 5000, "it is not KEY=VALUE"),
        ("name.x=3", "`name.x` is within 'quickstart', which has no keys"),
        ("seed=[", "the value is not YAML"),
        ("limits" + ".a" * 3000 + "=1", "its key has 3001 steps \\(at most 20\\)"),
    ],
)
def test_a_set_that_changes_nothing_is_refused(text: str, words: str) -> None:
    with pytest.raises(UnusableChange, match=f"--set .*: {words}"):
        load_plan(Path("quickstart"), Changes((text,)))


@pytest.mark.parametrize(
    "text",
    [
        "seed=&a [*a]",
        "seed={" + ", ".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 1}]" for i in range(7)) + "}",
    ],
)
def test_aliases_of_a_set_stand_for_no_more_than_those_of_a_plan(text: str) -> None:
    with pytest.raises(PlanError, match="its aliases expand to more than 100000 values"):
        load_plan(Path("quickstart"), Changes((text,)))


def test_an_error_names_the_set_that_it_comes_from() -> None:
    with pytest.raises(PlanError, match=r"'seed' must be at least 0, but it is -1 \(given by --set seed=-1\)"):
        load_plan(Path("quickstart"), Changes(("seed=-1",)))


def test_minutes_are_those_of_a_race() -> None:
    changes = changes_from(None, None, None, 12.5)
    race = load_plan(Path("quickstart"), changes).plan.race
    assert race is not None
    assert race.minutes == 12.5
    with pytest.raises(UnusableChange, match=r"the plan has no `race`. Add it with `--set race=\{\}` before"):
        load_plan(Path("cpu"), changes)
    both = load_plan(Path("cpu"), changes_from(["race={}", "repeats=1"], None, None, 12.5))
    assert both.plan.race is not None
    assert both.plan.race.minutes == 12.5


def test_globs_choose_cells_and_keep_their_baselines() -> None:
    names = [
        cell.name for cell in load_and_check(Path("quickstart"), Changes(only=("gguf Q*",), exclude=("*Q8*",))).cells
    ]
    assert names == ["gguf float16 · llama_cpp", "gguf Q4_K_M · llama_cpp"]


def test_of_ten_thousand_cells_no_two_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """It took 17 s, without any option too."""
    parsed = load_plan(Path("quickstart"))
    cells = check(parsed).cells

    def compared(cell: Cell, other: object) -> bool:
        raise AssertionError("two cells are compared")

    monkeypatch.setattr(Cell, "__eq__", compared)
    assert len(selected(parsed, cells)) == len(cells)


def test_globs_that_leave_nothing_name_the_cells() -> None:
    with pytest.raises(PlanError, match=r"no cell is left by --only 'gptq\*'\n.*gguf Q8_0 · llama_cpp"):
        load_and_check(Path("quickstart"), Changes(only=("gptq*",)))


def test_changes_are_recorded_and_read_again() -> None:
    changes = Changes(("seed=1",), ("a*",), ("b c",))
    assert changes_of(changes.plain) == changes
    assert changes.words == " --set seed=1 --only 'a*' --exclude 'b c'"
    assert not any(map(changes_of, ({"sets": "x"}, ["x"], None)))
