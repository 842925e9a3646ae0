"""Memory as capacity, worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from evals.schema.load import LoadPoint, Speed
from evals.schema.trial import Memory
from quant.canonical_json import write_json
from reports.decision.results import read_results
from reports.metrics.cell import cell_metrics
from reports.metrics.needed_memory import in_flight_tokens
from reports.output.html_report import write_report
from reports.output.json_data import as_data
from reports.sections.memory_footprint import Fit, Footprint, footprints
from tests.support.made_trials import ABOUT, request, speed, trial

GIB = 1024**3
PSS, NVML = "PSS of the server's process tree", "NVML, bytes of the server's processes"
ASKED = {"budgets_bytes": [8 * GIB, 24 * GIB], "context_tokens": [4096]}
LLAMA_8B_TOKEN = 131_072.0


def _footprint(memory: Memory, *loads: Speed) -> Footprint:
    result = replace(trial("none", 10, 2.0, 80), memory=memory, speed=loads or (speed(10),))
    (footprint,) = footprints([cell_metrics(result, result)], ASKED)
    return footprint


def test_users_are_what_is_left_by_what_one_takes() -> None:
    """15 GiB of weights, 1 GiB of workspace: 8 GiB are left of 24, and 4,096 tokens take half a GiB."""
    footprint = _footprint(
        Memory(
            NVML, 22 * GIB, 22 * GIB, 15 * GIB, 6 * GIB, "set aside at start", LLAMA_8B_TOKEN, "reported by the engine"
        )
    )
    assert (footprint.other_bytes, footprint.weights_source) == (GIB, "reported by the engine")
    assert footprint.fits == (Fit(8 * GIB, 4096, None), Fit(24 * GIB, 4096, 16))


def test_what_was_set_aside_and_not_needed_is_told() -> None:
    footprint = _footprint(
        Memory(NVML, 22 * GIB, 22 * GIB, 15 * GIB, 6 * GIB, "set aside at start", LLAMA_8B_TOKEN, "told")
    )
    assert footprint.in_flight_tokens == 21
    assert footprint.idle_bytes == 6 * GIB - 21 * 131_072


def test_on_a_cpu_only_what_the_load_wrote_counts_as_kv() -> None:
    memory = Memory(PSS, 2 * GIB, 3 * GIB, GIB, GIB, "set aside at start", LLAMA_8B_TOKEN, "told")
    assert _footprint(memory).other_bytes == 2 * GIB - 21 * 131_072
    used = replace(memory, kv_cache_bytes=1000, kv_source="highest in use during the load")
    assert _footprint(used).idle_bytes is None


def test_without_a_word_of_the_engine_the_checkpoint_is_weighed() -> None:
    memory = Memory(PSS, 3 * GIB, 3 * GIB, None, None, None, LLAMA_8B_TOKEN, "by the model's configuration")
    result = trial("none", 10, 2.0, 80)
    result = replace(result, memory=memory, checkpoint={**(result.checkpoint or {}), "bytes": GIB})
    (footprint,) = footprints([cell_metrics(result, result)], None)
    assert (footprint.weights_bytes, footprint.weights_source) == (GIB, "size of the checkpoint's tensors")
    assert footprint.fits == ()


def test_tokens_in_flight_are_those_of_the_most_requests_at_once() -> None:
    """Two overlap, a third begins when the first ends."""
    first, second = request(0.0, 1.0, 1.0, 3), request(1.0, 2.0, 1.0, 3)
    third = request(first.end_seconds, first.end_seconds + 1, 1.0, 3)
    assert in_flight_tokens(Speed(LoadPoint(2, 3, 10, 3), ((first, second, third),))) == 26
    assert in_flight_tokens(Speed(LoadPoint(1, 1, 10, 3), ((first,),))) == 13
    longer = request(0.5, 1.0, 0.1, 3, prompt=100)
    assert in_flight_tokens(Speed(LoadPoint(None, 3, 100, 3, 1.0, "trace"), ((first, longer, third),))) == 116


def test_cells_that_do_not_tell_are_left_out() -> None:
    result = trial("none", 10, 2.0, 80)
    attached = replace(result, memory=None)
    assert footprints([cell_metrics(result, result), cell_metrics(attached, attached)], ASKED) == []


def test_page_and_json_show_it(tmp_path: Path) -> None:
    memory = Memory(
        NVML, 22 * GIB, 22 * GIB, 15 * GIB, 6 * GIB, "set aside at start", LLAMA_8B_TOKEN, "reported by the engine"
    )
    (tmp_path / "trials").mkdir()
    write_json(tmp_path / "trials" / "0.json", replace(trial("none", 10, 2.0, 80), memory=memory))
    write_json(tmp_path / "sweep.json", {**ABOUT, "trials": ["0.json"], "memory": ASKED})
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "users of 4096<br>tokens in 24.00 GiB" in page
    assert (
        '<td class="n">128.0</td><td>reported by the engine</td><td class="n">6.00</td><td class="n">–</td><td class="n">16</td>'
        in page
    )
    (row,) = json.loads(json.dumps(as_data(read_results(tmp_path))))["footprints"]
    assert [fit["users"] for fit in row["fits"]] == [None, 16]
