"""The benchmark report of llm-d: what it must have, and that its numbers are ours."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evals.schema.load import LoadPoint
from reports.decision.results import conclude
from reports.metrics.load import load_metrics
from reports.output.llmd_export import document, export
from tests.support.made_trials import ABOUT, failed, speed, trial


def test_a_document_for_each_load_of_each_ok_cell(tmp_path: Path) -> None:
    result = replace(trial("none", 10, 1.0, 80), speed=(speed(10, 1), speed(20, 4)))
    files = export(conclude(ABOUT, [result, failed("rtn", "it broke")]), tmp_path / "out")
    assert len(files) == 2
    first, second = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    assert [benchmark["scenario"]["load"]["standardized"]["concurrency"] for benchmark in (first, second)] == [1, 4]
    assert first["run"]["uid"] != second["run"]["uid"]
    assert first["run"]["eid"] == second["run"]["eid"]


def test_the_numbers_are_ours_with_their_units() -> None:
    report = document(ABOUT, trial("none", 10, 1.0, 80), speed(10, 1))
    ours = load_metrics(speed(10, 1))
    aggregate = report["results"]["request_performance"]["aggregate"]
    rate = aggregate["throughput"]["output_token_rate"]
    assert rate["mean"] == pytest.approx(ours.output_rate.value, rel=1e-3)  # theirs is arithmetic, ours geometric
    assert rate["units"] == "tokens/s"
    assert rate["stddev"] > 0
    latency = aggregate["latency"]
    assert latency["time_to_first_token"]["p50"] == pytest.approx(ours.latency.ttft[0].value)
    assert latency["time_per_output_token"]["p95"] == pytest.approx(ours.latency.tpot[1].value)
    assert latency["request_latency"]["p99"] == pytest.approx(ours.latency.e2e[2].value)
    assert [latency[name]["units"] for name in latency] == ["s", "s/token", "s"]
    assert aggregate["requests"]["total"] == 4
    assert aggregate["requests"]["output_length"]["mean"] == 11


def test_an_open_load_has_a_rate_and_conversations_their_turns() -> None:
    load = LoadPoint(None, 2, 10, 11, 2.5, "poisson", workload="chat", turns=3)
    scenario = document(ABOUT, trial("none", 10, 1.0, 80), replace(speed(10), load=load))["scenario"]["load"][
        "standardized"
    ]
    assert (scenario["rate_qps"], scenario["source"], scenario["input_seq_len"]["distribution"]) == (
        2.5,
        "sampled",
        "other",
    )
    assert "concurrency" not in scenario
    assert scenario["multi_turn"]["max_turns"]["value"] == 3
