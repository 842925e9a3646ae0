"""Options with several values, how many GPUs they want, and a price: what they change and what they do not."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

import flows.validate.plan
from engines.option_labels import option_labels
from engines.parallelism import devices, too_many
from engines.runtime.environments import Environment
from engines.types import Device
from flows.execute.keys import cell_parts
from flows.execute.quantize_checkpoint import Job
from flows.execute.rows import slug
from flows.plan.source import load_plan
from flows.validate.engines import option_sets
from flows.validate.plan import check
from flows.validate.resolved import ResolvedPlan
from tests.support.bad_plans.changes import GOOD

GPUS = Device("cuda", "made up", frozenset({"sm90"}), 80 * 1024**3, ("GPU-0", "GPU-1"))
SIZES = {"engine": "vllm", "options": {"tensor_parallel": [1, 2, 4]}}


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "text.txt").write_text("a b c d " * 2000)
    monkeypatch.setattr(flows.validate.plan, "find_device", lambda _: GPUS)
    return tmp_path


def _check(folder: Path, *engines: Mapping[str, Any], **more: Any) -> ResolvedPlan:
    plan = copy.deepcopy(GOOD) | {"device": "auto", "engines": list(engines), **more}
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    return check(load_plan(folder / "plan.yaml"))


def test_a_list_of_values_is_an_entry_for_each() -> None:
    assert option_sets({"a": [1, 2], "b": "x", "c": [True, False]}) == [
        {"a": a, "b": "x", "c": c} for a in (1, 2) for c in (True, False)
    ]
    assert option_sets({}) == [{}]


def test_every_size_is_a_cell_of_its_own_name(folder: Path) -> None:
    sweep = _check(folder, SIZES)
    assert [cell.name for cell in sweep.cells if cell.quantization.method.name == "none"] == [
        f"none float16 · vllm tensor_parallel {size}" for size in (1, 2, 4)
    ]
    assert len(sweep.cells) == 9
    assert {cell.choice.options["max_num_seqs"] for cell in sweep.cells} == {None}


def test_more_gpus_than_there_are_is_unsupported_with_that_reason(folder: Path) -> None:
    sweep = _check(folder, SIZES)
    reasons = {cell.choice.options["tensor_parallel"]: cell.unsupported for cell in sweep.cells}
    assert reasons == {1: None, 2: None, 4: "tensor_parallel 4 needs 4 GPUs, and there are 2"}


def test_a_container_has_the_gpus_that_it_is_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("engines.runtime.environments.image_identity", lambda *_: "image:sha256:0")
    image = {"vllm-cuda": {"image": "made-up", "gpus": [1]}}
    sweep = _check(folder, SIZES, environments=image)
    reasons = [cell.unsupported for cell in sweep.cells if cell.quantization.method.name == "none"]
    assert reasons == [None, *(f"tensor_parallel {n} needs {n} GPUs, and there is 1" for n in (2, 4))]


def test_where_an_attached_server_runs_is_its_own_affair(folder: Path) -> None:
    attached = {
        "engine": "vllm",
        "methods": ["none"],
        "attach": {"url": "http://x:1"},
        "options": {"tensor_parallel": 8},
    }
    assert [cell.unsupported for cell in _check(folder, attached).cells] == [None]


def test_one_engine_with_one_set_of_options_needs_no_label(folder: Path) -> None:
    sweep = _check(folder, {"engine": "vllm", "options": {"max_num_seqs": 8}}, {"engine": "transformers"})
    assert {cell.name for cell in sweep.cells if cell.quantization.method.name == "none"} == {
        "none float16 · vllm",
        "none float16 · transformers",
    }


def test_arguments_and_variables_tell_servers_apart(folder: Path) -> None:
    backend = {"engine": "vllm", "arguments": ["--attention-backend", "X"], "env": {"VLLM_Y": "1"}}
    plain, other = (
        cell for cell in _check(folder, {"engine": "vllm"}, backend).cells if cell.quantization.position == 0
    )
    assert plain.choice.label == "", other.choice.label
    assert other.choice.label == "arguments --attention-backend X, env VLLM_Y=1"
    assert "arguments" not in plain.choice.options


def test_a_restricted_entry_has_its_baseline_by_options(folder: Path) -> None:
    """Each size of the second entry has its baseline in the first one's, whose options are the same once filled in."""
    sweep = _check(folder, {"engine": "vllm", "options": {"max_num_seqs": [8, 64]}, "methods": ["none", "rtn"]})
    assert [cell.quantization.method.name for cell in sweep.cells] == ["none", "rtn"] * 2


@pytest.mark.parametrize(
    ("engine", "concurrency", "warning"),
    [
        (
            {"engine": "vllm", "options": {"max_num_seqs": 8}},
            9,
            "vllm computes 8 requests at once, and a load keeps 9 in",
        ),
        ({"engine": "transformers"}, 65, "Raise `max_batch`, or lower `concurrency`"),
        ({"engine": "vllm"}, 1024, None),
    ],
)
def test_a_load_that_waits_in_the_queue_is_warned_of(
    folder: Path, engine: dict[str, Any], concurrency: int, warning: str | None
) -> None:
    load = [{"concurrency": concurrency, "requests": 2000, "prompt_tokens": 8, "output_tokens": 4}]
    warnings = _check(folder, engine, load=load).warnings
    assert len(warnings) == (warning is not None)
    assert all(warning is not None and warning in text for text in warnings)


@pytest.mark.parametrize(("requests", "warned"), [(130_000, True), (100_000, False)])
def test_a_result_that_will_be_too_large_to_be_read_is_warned_of(folder: Path, requests: int, warned: bool) -> None:
    """28 bytes a token, in three repeats: 1.1 GB, and 0.8."""
    load = [{"concurrency": 8, "requests": requests, "prompt_tokens": 8, "output_tokens": 100}]
    warnings = _check(folder, {"engine": "vllm"}, load=load, repeats=3).warnings
    shown = "the loads may bring 3.9e+07 output tokens in each cell, and its result 1.1 GB; larger ones than 1.1 GB are"
    assert [text.startswith(shown) for text in warnings] == [True] * warned


def test_devices_are_the_product_of_all_ways() -> None:
    options = {"tensor_parallel": 2, "pipeline_parallel": 3, "data_parallel": 1, "max_num_seqs": 8}
    assert (devices(options), devices({})) == (6, 1)
    assert too_many(options, 6) is None
    assert too_many(options, 4) == "tensor_parallel 2 × pipeline_parallel 3 needs 6 GPUs, and there are 4"


def test_labels_are_the_options_that_differ() -> None:
    servers: list[tuple[str, dict[str, Any]]] = [
        ("a", {"x": 1, "y": 2, "z": 3}),
        ("b", {"x": 7}),
        ("a", {"x": 1, "y": 4, "z": 5}),
        ("a", {"x": 1}),
    ]
    assert option_labels(servers) == ["y 2, z 3", "", "y 4, z 5", ""]


def test_a_price_and_other_sizes_change_no_key_and_no_file(folder: Path) -> None:
    def keys(sweep: ResolvedPlan) -> list[tuple[str, str]]:
        cells = [cell for cell in sweep.cells if cell.choice.options["tensor_parallel"] == 1]
        job = cast(Job, SimpleNamespace(inputs={}))
        here = {cell.environment: Environment(cell.environment, "here", ()) for cell in cells}
        return [
            (part.key, slug(cell))
            for cell in cells
            for part in cell_parts(sweep, cell, job, here, {"arc_easy": "a", "wikitext2": "b"})
        ]

    entry = {"engine": "vllm", "options": {"tensor_parallel": 1}}
    plain = keys(_check(folder, entry))
    assert keys(_check(folder, entry, price={"per_device_hour": 2.5, "currency": "USD"})) == plain
    assert keys(_check(folder, SIZES)) == plain
    assert keys(_check(folder, entry, repeats=4)) != plain
