"""Decoding against the memory, by hand; who is marked as slower than the unquantized model, and with which cause."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.telemetry.kernel_log import kernel_facts
from evals.schema.load import ClientLoad
from evals.schema.trial import Trial
from reports.decision.recommend import decide
from reports.decision.results import conclude
from reports.decision.verdicts import Limits, judge
from reports.metrics.cell import CellMetrics, cell_metrics
from reports.output.html_report import contents, render
from reports.sections.roofline import Roofline, bandwidths, rooflines
from tests.support.made_trials import ABOUT, speed, trial

BANDWIDTH = {
    "bytes_per_second": 10e9,
    "median_bytes_per_second": 9e9,
    "lowest_bytes_per_second": 5e9,
    "repeats": 40,
    "how": "planted",
}
FORCED = (
    "INFO gptq_marlin.py:112] Detected that the model can run with gptq_marlin, however you specified quantization=gptq "
    "explicitly, so forcing gptq. Use quantization=gptq_marlin for faster inference\n"
)


def _made(
    method: str, rate: float, megabytes: int | None, activations: str = "float16", repeats: int = 5, **facts: Any
) -> Trial:
    """About `rate` tokens per second, one request at a time; each output token reads so many megabytes."""
    result = trial(method, rate, 1.0, 80)
    weights, bits = ("float16", 16.0) if method == "none" else ("int4", 4.5)
    scheme = {"weights": weights, "activations": activations}
    load = speed(rate)
    return replace(
        result,
        speed=(replace(load, repeats=load.repeats * repeats), speed(3 * rate, 4)),
        facts=facts,
        provenance={"bandwidth": BANDWIDTH},
        checkpoint={
            "bits_per_weight": bits,
            "spec": {"scheme": scheme},
            "decode_bytes": None if megabytes is None else megabytes * 10**6,
        },
    )


def _cells(*trials: Trial) -> list[CellMetrics]:
    return [cell_metrics(result, trials[0]) for result in trials]


def _second(*trials: Trial) -> Roofline:
    return rooflines(_cells(*trials))[1]


def test_the_memory_sets_the_least_time_for_a_token() -> None:
    base, roofline = rooflines(_cells(_made("none", 20, 200), _made("rtn", 40, 50, weights_bytes=60 * 10**6)))
    assert (base.floor_seconds, base.ideal, base.speedup) == (0.02, None, None)
    assert (roofline.floor_seconds, roofline.ideal, roofline.held_bytes) == (0.005, 4.0, 60 * 10**6)
    assert base.tpot_seconds.value == pytest.approx(0.05, rel=0.02)
    assert base.share is not None
    assert base.share.value == pytest.approx(0.4, rel=0.02)
    assert base.share.low < base.share.value < base.share.high
    assert roofline.speedup is not None
    assert roofline.speedup.value == pytest.approx(2.0, rel=0.02)
    assert roofline.speedup.low < 2.0 < roofline.speedup.high
    assert not roofline.slower


def test_only_a_load_of_one_request_counts() -> None:
    busy = replace(_made("rtn", 40, 50), speed=(speed(40, 4),))
    assert [roofline.name for roofline in rooflines(_cells(_made("none", 20, 200), busy))] == ["none · e"]
    assert bandwidths(_cells(busy)) == []


def test_another_shape_is_not_compared() -> None:
    result = _made("rtn", 10, 50)
    longer = replace(result.speed[0], load=replace(result.speed[0].load, prompt_tokens=99))
    assert _second(_made("none", 20, 200), replace(result, speed=(longer,))).speedup is None


def test_what_is_not_known_is_not_guessed() -> None:
    old = replace(_made("none", 20, None), provenance={})
    base, roofline = rooflines(_cells(old, replace(_made("rtn", 10, 50), provenance={})))
    assert (base.weight_bytes, base.floor_seconds, base.share) == (None, None, None)
    assert (roofline.ideal, roofline.share, roofline.slower) == (
        None,
        None,
        True,
    )  # that it is slower needs no roofline


def test_a_server_somewhere_else_has_another_memory() -> None:
    (roofline,) = rooflines(_cells(_made("none", 20, 200, attached="http://127.0.0.1:8000")))
    assert (roofline.weight_bytes, roofline.floor_seconds) == (200 * 10**6, None)


def test_gpus_that_share_layers_read_at_once() -> None:
    result = _made("none", 20, 200)
    options = {"bandwidth": BANDWIDTH, "engine_options": {"tensor_parallel": 2}}
    assert rooflines(_cells(replace(result, provenance=options)))[0].floor_seconds == 0.01


def test_few_requests_mark_nothing() -> None:
    roofline = _second(_made("none", 20, 200, repeats=1), _made("rtn", 10, 50, repeats=1))
    assert roofline.speedup is not None
    assert (roofline.speedup.low, roofline.speedup.high) == (0.0, math.inf)
    assert not roofline.slower


@pytest.mark.parametrize(
    ("quantized", "words"),
    [
        (_made("rtn", 10, 800), "no cause in its log"),
        (
            _made("rtn", 10, 800, weights_bytes=195 * 10**6),
            "holds 195 MB of weights, the unquantized model takes 200 MB",
        ),
        (_made("rtn", 10, 800, "int8", weights_bytes=60 * 10**6), "activations are quantized to int8 at every step"),
        (_made("rtn", 10, 50, kernel_warnings="a slow path; a remedy"), "a slow path; a remedy"),
    ],
)
def test_the_likely_cause_comes_from_the_record(quantized: Trial, words: str) -> None:
    roofline = _second(_made("none", 30, 200, weights_bytes=200 * 10**6), quantized)
    assert roofline.slower
    assert len(roofline.causes) == 1
    assert words in roofline.causes[0]


def test_neither_is_limited_by_the_memory() -> None:
    roofline = _second(_made("none", 20, 100), _made("rtn", 10, 50))
    assert roofline.causes[0].startswith(
        "neither is limited by memory bandwidth (this one at 5 % of the roofline, the unquantized at 2"
    )


def test_the_unquantized_alone_is_limited_by_the_memory() -> None:
    roofline = _second(_made("none", 20, 400), _made("rtn", 10, 100))
    assert roofline.causes[0].startswith("the unquantized model reaches 8")
    assert "this one 10 %: unpacking its weights takes the time" in roofline.causes[0]


def test_a_disturbed_load_comes_first_among_the_causes() -> None:
    slow = _made("rtn", 10, 800)
    late = replace(slow.speed[0], clients=(ClientLoad(1.0, 0.1, (0.0, 0.5, 0.5)),))
    roofline = _second(_made("none", 30, 200), replace(slow, speed=(late,)))
    assert len(roofline.causes) == 1
    assert roofline.causes[0].startswith("its load was disturbed: the load generator's p99 send delay was 500 ms")


def test_what_is_as_large_or_as_fast_is_not_marked() -> None:
    base = _made("none", 20, 200)
    large = _made("rtn", 10, 200)
    same_bits = replace(large, checkpoint={**(large.checkpoint or {}), "bits_per_weight": 16.0})
    assert not _second(base, same_bits).slower
    assert not _second(base, _made("rtn", 20, 50)).slower


def _page(*trials: Trial) -> str:
    return render(contents(conclude(ABOUT, trials)), {})


def test_a_planted_log_is_flagged_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(FORCED)
    slow = _made("rtn", 10, 50, **kernel_facts(tmp_path / "log"))
    page = _page(_made("none", 20, 200), slow)
    assert "<strong>Slower than unquantized.</strong> Likely: the kernel gptq was forced where the faster" in page
    assert "10.0 GB/s, the highest of 40 repeats (median 9.00, lowest 5.00; planted)" in page
    assert "Slow path: " not in page
    assert "Slow path: the kernel gptq was forced" in _page(_made("none", 5, 200), slow)


def test_what_a_log_says_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("<script>alert(1)</script> offloaded 3/33 layers to GPU {{ 7 * 7 }}\n")
    page = _page(_made("none", 5, 200), _made("rtn", 10, 50, **kernel_facts(tmp_path / "log")))
    assert "3 of 33 layers" in page
    assert "<script>alert" not in page


def test_without_a_bandwidth_there_are_dashes() -> None:
    old = replace(_made("none", 20, None), provenance={})
    page = _page(old, _made("rtn", 10, 50))
    assert "which was not measured" not in page  # the second one's is known
    assert "which was not measured" in _page(old)
    assert "Kernels and roofline</h2>" not in _page(replace(old, speed=(speed(20, 4),)))


def test_the_answer_warns_of_a_slow_path() -> None:
    base = _made("none", 5, 200)
    worse = trial("rtn", 10, 1.0, 80, 2.01).perplexities
    facts = {"kernel_warnings": "one; its remedy\nanother; its remedy"}
    chosen = replace(_made("rtn", 10, 50), facts=facts, perplexities=worse)
    limits = Limits(accuracy_recovery=0.9, perplexity_ratio=1.1)
    answer = decide([judge(cell, limits) for cell in _cells(base, chosen)])
    assert answer.chosen is not None
    assert answer.chosen.cell.trial is chosen
    assert [caveat for caveat in answer.caveats if "slow path" in caveat] == [
        "rtn · e ran on a slow path: one; its remedy",
        "rtn · e ran on a slow path: another; its remedy",
    ]
