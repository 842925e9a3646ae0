from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from evals.schema.trial import Trial
from reports.decision.results import conclude, read_results
from reports.output.html_report import write_report
from reports.output.json_data import as_data
from reports.output.tabular import rows
from reports.output.terminal.summary import print_results
from tests.support.made_runs import write_run
from tests.support.made_trials import ABOUT, trial


def _in(reported: str, made: Trial, dtype: str = "auto") -> Trial:
    """With what the engine says that it computes in, and the option."""
    facts = {"dtype": reported} if reported else {}
    return replace(made, facts=facts, provenance={"engine_options": {"dtype": dtype}})


def test_another_type_than_the_baselines_is_in_the_name_and_warned_of() -> None:
    """Runs of older programs have no baseline in the type of W4A16: its speed-up is partly the type's."""
    results = conclude(
        ABOUT,
        [
            _in("float32", trial("none", 10, 2.0, 80)),
            _in("float16", trial("gptq", 40, 1.0, 80)),
            _in("float32", trial("smoothquant", 20, 1.0, 80)),
        ],
    )
    assert [made.name for made in results.trials] == ["none · e", "gptq · e in float16", "smoothquant · e"]
    assert [cell.trial.name for cell in results.cells] == [made.name for made in results.trials]
    (warning,) = results.warnings
    assert warning.startswith("gptq · e in float16 computes in float16, its baseline in float32, so ratios mix")


def test_ratios_are_against_the_baseline_in_the_same_type() -> None:
    """What a plan expands to: the baseline once more, with the type as an option."""
    results = conclude(
        ABOUT,
        [
            _in("float32", trial("none", 10, 2.0, 80)),
            _in("float16", trial("none", 30, 2.0, 80, label="none "), dtype="float16"),
            _in("float16", trial("gptq", 40, 1.0, 80), dtype="float16"),
        ],
    )
    assert [made.name for made in results.trials] == ["none · e", "none  · e dtype float16", "gptq · e dtype float16"]
    assert results.cells[2].baseline is results.trials[1]
    assert results.warnings == ()


@pytest.mark.parametrize("types", [("", "float16"), ("float16", ""), ("float16", "float16")])
def test_a_type_that_is_not_known_or_equal_is_not_in_the_name(types: tuple[str, str]) -> None:
    base, quantized = types
    results = conclude(ABOUT, [_in(base, trial("none", 10, 2.0, 80)), _in(quantized, trial("gptq", 40, 1.0, 80))])
    assert [made.name for made in results.trials] == ["none · e", "gptq · e"]
    assert results.warnings == ()


def test_the_type_is_a_column_everywhere(tmp_path: Path) -> None:
    run = write_run(tmp_path, _in("float32", trial("none", 10, 2.0, 80)), _in("", trial("gptq", 40, 1.0, 80)))
    page, results = write_report(run).read_text(encoding="utf-8"), read_results(run)
    assert "<th>computes in <a" in page
    assert "<td>float32</td>" in page
    assert [row["compute_dtype"] for row in rows(results)] == ["float32", ""]
    assert [row["compute_dtype"] for row in as_data(results)["cells"]] == ["float32", ""]
    console = Console(record=True, width=400, file=io.StringIO())
    print_results(results, console, verbose=True)
    assert "computes in" in console.export_text()
