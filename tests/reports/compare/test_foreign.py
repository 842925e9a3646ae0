"""Results of other tools, in the form in which those write them, against a cell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager
from typer.testing import CliRunner

from evals.schema.load import LoadPoint, Speed
from flows.cli import commands
from quant.canonical_json import write_json
from reports.compare.foreign import compare_foreign, read_foreign
from reports.compare.foreign_types import Unreadable
from reports.compare.runs import NotComparable
from reports.decision.results import Results, conclude
from tests.support.made_trials import ABOUT, score, speed, trial

FILES = Path(__file__).parent / "foreign"
VLLM: dict[str, Any] = {
    "date": "20261122-101010",
    "backend": "openai",
    "model_id": "m",
    "num_prompts": 40,
    "request_rate": "inf",
    "max_concurrency": 4,
    "duration": 10.0,
    "completed": 40,
    "failed": 0,
    "total_input_tokens": 400,
    "total_output_tokens": 440,
    "request_throughput": 4.0,
    "output_throughput": 20.0,
    "total_token_throughput": 40.0,
    "mean_ttft_ms": 51.0,
    "median_ttft_ms": 50.0,
    "median_tpot_ms": 50.0,
    "median_itl_ms": 50.0,
}
LM_EVAL = {
    "results": {
        "arc": {"alias": "arc", "acc,none": 0.8, "acc_stderr,none": 0.04},
        "words": {"alias": "words", "perplexity,none": 20.0, "perplexity_stderr,none": "N/A"},
        "generated": {"alias": "generated", "exact_match,strict-match": 0.5, "exact_match_stderr,strict-match": "N/A"},
    },
    "n-samples": {"arc": {"original": 2376, "effective": 100}},
    "config": {"model": "hf", "model_args": "pretrained=m"},
}


def _statistic(median: float, mean: float | None = None) -> dict[str, Any]:
    return {"successful": {"mean": median if mean is None else mean, "median": median}}


def _guidellm(strategy: dict[str, Any], rate: float = 20.0) -> dict[str, Any]:
    metrics = {
        "requests_per_second": _statistic(2.0),
        "prompt_token_count": _statistic(10),
        "output_token_count": _statistic(11),
        "output_tokens_per_second": _statistic(1.0, rate),
        "time_to_first_token_ms": _statistic(50.0),
        "inter_token_latency_ms": _statistic(50.0),
        "time_per_output_token_ms": _statistic(999.0),
    }
    config = {"strategy": strategy, "backend": {"model": "m"}}
    return {"metadata": {"version": 2}, "benchmarks": [{"config": config, "metrics": metrics}]}


def _many(rate: float, users: int) -> Speed:
    measurement = speed(rate, users)
    return replace(measurement, repeats=tuple(repeat * 20 for repeat in measurement.repeats))


def _run(rate: float = 20.0, right: int = 80) -> Results:
    opened = replace(_many(20, 1), load=LoadPoint(None, 2, 10, 11, 2.0, "poisson"))
    result = trial("none", rate, 1.0, 80)
    values = [1.0] * right + [0.0] * (100 - right)
    return conclude(ABOUT, [replace(result, speed=(_many(rate, 4), opened), scores=(score("arc", values),))])


def _file(folder: Path, raw: Any) -> Path:
    file = folder / "theirs.json"
    file.write_text(json.dumps(raw))
    return file


def _states(folder: Path, raw: Any, run: Results) -> dict[str, str]:
    (cell,) = compare_foreign(_file(folder, raw), run, None, speed_margin=0.05).cells
    return {check.figure: check.state for check in cell.checks}


def test_a_load_of_vllm_bench_is_found_and_held_against_ours(tmp_path: Path) -> None:
    run = _run()
    rate = run.cells[0].loads[0].output_rate.value
    at = "at concurrency 4, about 10 / 11 tokens"
    same = {**VLLM, "output_throughput": rate}
    assert _states(tmp_path, same, run) == {
        f"output tokens/s {at}": "INCONCLUSIVE",  # two repeats say little
        f"median TTFT {at}": "INCONCLUSIVE",
        f"median TPOT {at}": "INCONCLUSIVE",
    }
    slow = _states(tmp_path, {**VLLM, "median_tpot_ms": 500.0}, run)
    assert slow[f"median TPOT {at}"] == "PASS"
    slower = _states(tmp_path, {**VLLM, "output_throughput": 10 * rate, "median_tpot_ms": 5.0}, run)
    assert slower[f"output tokens/s {at}"] == slower[f"median TPOT {at}"] == "REGRESSION"
    assert _states(tmp_path, {**VLLM, "output_throughput": rate / 10}, run)[f"output tokens/s {at}"] == "PASS"


@pytest.mark.parametrize("changed", [{"max_concurrency": 8}, {"total_input_tokens": 800}, {"total_output_tokens": 88}])
def test_another_load_is_not_compared(tmp_path: Path, changed: dict[str, int]) -> None:
    (state,) = _states(tmp_path, {**VLLM, **changed}, _run()).values()
    assert state == "NOT COMPARED"


def test_without_a_most_all_requests_are_at_once_or_come_at_a_rate(tmp_path: Path) -> None:
    (all_,) = read_foreign(_file(tmp_path, {**VLLM, "max_concurrency": None})).loads
    assert (all_.concurrency, all_.rate_per_second) == (40, None)
    (rate,) = read_foreign(_file(tmp_path, {**VLLM, "max_concurrency": None, "request_rate": 2.0})).loads
    assert (rate.concurrency, rate.rate_per_second) == (None, 2.0)
    assert rate.label == "2 requests/s, about 10 / 11 tokens"


def test_guidellms_strategies(tmp_path: Path) -> None:
    def load(**strategy: Any) -> tuple[int | None, float | None]:
        (load,) = read_foreign(_file(tmp_path, _guidellm(strategy))).loads
        assert (load.tpot_seconds, load.output_rate) == (0.05, 20.0)
        return load.concurrency, load.rate_per_second

    assert load(type_="synchronous") == (1, None)
    assert load(type_="concurrent", streams=4) == (4, None)
    assert load(type_="poisson", rate=3.0) == (None, 3.0)
    assert load(type_="throughput") == (None, 2.0)
    states = _states(tmp_path, _guidellm({"type_": "constant", "rate": 2.0}), _run())
    assert set(states) == {
        f"{figure} at 2 requests/s, about 10 / 11 tokens"
        for figure in ("output tokens/s", "median TTFT", "median TPOT")
    }


def test_accuracy_of_the_same_number_of_questions_is_held_against_ours(tmp_path: Path) -> None:
    foreign = read_foreign(_file(tmp_path, LM_EVAL))
    assert [(foreign_score.task, foreign_score.metric, foreign_score.error) for foreign_score in foreign.scores] == [
        ("arc", "acc", 0.04),
        ("generated", "exact_match", None),
    ]
    assert _states(tmp_path, LM_EVAL, _run(right=80)) == {
        "arc, acc": "INCONCLUSIVE",
        "generated, exact_match": "NOT COMPARED",
    }
    assert _states(tmp_path, LM_EVAL, _run(right=20))["arc, acc"] == "REGRESSION"
    assert _states(tmp_path, LM_EVAL, _run(right=100))["arc, acc"] == "PASS"
    fewer = {**LM_EVAL, "n-samples": {"arc": {"effective": 50}}}
    assert _states(tmp_path, fewer, _run())["arc, acc"] == "NOT COMPARED"


def test_files_that_the_load_clients_themselves_wrote() -> None:
    """Of vLLM on a CPU, by vllm 0.32 and GuideLLM 0.8.1; figures of single requests are left out."""
    closed = read_foreign(FILES / "vllm-bench-serve.json")
    (load,) = closed.loads
    assert (closed.tool, closed.model, load.concurrency) == ("vllm bench serve", "served", 1)
    assert (load.prompt_tokens, load.output_tokens) == (64, 32)
    assert (load.output_rate, load.ttft_seconds, load.tpot_seconds) == pytest.approx((16.24, 0.1952, 0.05594), rel=1e-3)
    four = read_foreign(FILES / "guidellm.json")
    (load,) = four.loads
    assert (four.tool, four.model, load.concurrency) == ("GuideLLM", "served", 4)
    assert (load.prompt_tokens, load.output_tokens) == (64, 32)
    assert load.output_rate == pytest.approx(56.88, rel=0.1)
    assert load.ttft_seconds == pytest.approx(0.64, rel=0.05)
    assert load.tpot_seconds == pytest.approx(0.052, rel=0.05)


def test_a_file_that_lm_eval_itself_wrote(tmp_path: Path) -> None:
    """Of its model for tests, which answers at random, on twenty questions of ours."""
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps({"q": f"question {number}?"}) + "\n" for number in range(20)))
    task = {
        "task": "made",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(questions)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_target": 0,
        "doc_to_choice": ["yes", "no"],
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    result = simple_evaluate(model="dummy", tasks=[task], task_manager=TaskManager(include_defaults=False))
    EvaluationTracker(output_path=str(tmp_path / "out")).save_results_aggregated(result, None)
    (file,) = (tmp_path / "out").rglob("results_*.json")
    (score,) = read_foreign(file).scores
    scores = result["results"]["made"]
    assert (score.task, score.metric, score.items) == ("made", "acc_norm", 20)
    assert (score.value, score.error) == (scores["acc_norm,none"], scores["acc_norm_stderr,none"])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({}, "no result of vllm bench serve, GuideLLM or lm-eval"),
        ([1], "no result of vllm bench serve, GuideLLM or lm-eval"),
        ({"output_throughput": 1}, r"not as the tool writes it \(KeyError: 'completed'\)"),
        ({**VLLM, "failed": 3}, "3 of its requests failed"),
        ({**VLLM, "completed": 0}, "ZeroDivisionError"),
        ({"benchmarks": []}, "IndexError"),
        ({"results": {"arc": 3}}, "not as the tool writes it"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, raw: Any, words: str) -> None:
    with pytest.raises(Unreadable, match=rf"theirs\.json: .*{words}"):
        read_foreign(_file(tmp_path, raw))


def test_a_file_of_no_tool_gives_the_accepted_formats(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# About")
    for file in (tmp_path / "README.md", _file(tmp_path, {})):
        with pytest.raises(
            Unreadable, match="Give a run's folder, or the JSON of `vllm bench serve --save-result`, GuideLLM"
        ):
            read_foreign(file)


def test_which_cell_must_be_clear(tmp_path: Path) -> None:
    result = trial("none", 10, 1.0, 80)
    run = conclude(ABOUT, [result, replace(result, key="b", method_label="b")])
    with pytest.raises(NotComparable, match=r"no cell given\. Name one with --cell: none · e; b · e"):
        compare_foreign(_file(tmp_path, VLLM), run, None, speed_margin=0.05)
    with pytest.raises(NotComparable, match="there is no measured cell 'c'"):
        compare_foreign(_file(tmp_path, VLLM), run, "c", speed_margin=0.05)
    assert compare_foreign(_file(tmp_path, VLLM), run, "b · e", speed_margin=0.05).cells[0].name == "b · e"


def test_the_command_holds_a_file_against_a_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "trials").mkdir(parents=True)
    write_json(run / "trials" / "0.json", _run().trials[0])
    write_json(run / "sweep.json", {**ABOUT, "trials": ["0.json"]})
    slow = _file(tmp_path, {**VLLM, "output_throughput": 1e6})
    page = tmp_path / "page.html"
    result = CliRunner().invoke(commands.app, ["compare", str(slow), str(run), "--json", "--html", str(page)])
    assert result.exit_code == 1, result.output
    assert json.loads(result.stdout)["before"] == "vllm bench serve (theirs.json)"
    assert "vllm bench serve" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_that_windows_wrote_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.json").write_text(json.dumps(VLLM), encoding=encoding)
    assert read_foreign(tmp_path / "x.json").tool == "vllm bench serve"
