"""A cell and its baseline compute in one type, or the plan says why they do not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

import flows.validate.plan
from engines.types import Device
from flows.plan.source import load_plan
from flows.validate.compute_types import compute_dtype
from flows.validate.plan import check
from flows.validate.resolved import ResolvedPlan
from tests.support.bad_plans.changes import GOOD

AVX512 = Device("cpu", "a test", frozenset({"avx512f"}), 16 * 1024**3)
H100 = Device("cuda", "NVIDIA H100", frozenset({"sm90"}), 80 * 1024**3)
METHODS = [{"method": "none"}, {"method": "rtn", "parameters": {"group_size": 32}}, {"method": "smoothquant"}]


def _checked(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: dict[str, Any],
    device: Device = AVX512,
    methods: list[dict[str, Any]] = METHODS,
) -> ResolvedPlan:
    monkeypatch.setattr(flows.validate.plan, "find_device", lambda kind: device)
    (folder / "text.txt").write_text("a b c d " * 2000)
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump({**copy.deepcopy(GOOD), "methods": methods, "engines": [engine]}))
    return check(load_plan(file))


def _served(sweep: ResolvedPlan) -> list[tuple[str, str]]:
    return [(cell.name, compute_dtype(cell.quantization, cell.choice, sweep.device)) for cell in sweep.cells]


def test_a_cell_in_16_bits_gets_a_baseline_in_16_bits(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM has no float32 kernel for W4A16 on a CPU, where it computes everything else in float32."""
    sweep = _checked(tmp_path, monkeypatch, {"engine": "vllm"})
    assert _served(sweep) == [
        ("none float16 · vllm", "float32"),
        ("smoothquant W8A8-int8 · vllm", "float32"),
        ("none float16 · vllm dtype float16", "float16"),
        ("rtn W4A16-g32 · vllm dtype float16", "float16"),
    ]
    assert sweep.cells[2].choice is sweep.cells[3].choice  # one server's options: they are compared with each other
    assert sweep.warnings == ()


@pytest.mark.parametrize(
    "engine",
    [
        {"engine": "transformers"},
        {"engine": "vllm", "options": {"dtype": "bfloat16"}},
        {"engine": "vllm", "methods": ["none", "smoothquant"]},
    ],
)
def test_cells_of_one_type_are_left_alone(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, engine: dict[str, Any]
) -> None:
    sweep = _checked(tmp_path, monkeypatch, engine)
    assert len({compute_dtype for _, compute_dtype in _served(sweep)}) == 1
    assert len({id(cell.choice) for cell in sweep.cells}) == 1


def test_a_type_that_the_plan_asks_for_is_measured_once(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = _checked(tmp_path, monkeypatch, {"engine": "vllm", "options": {"dtype": ["auto", "float16"]}})
    names = [name for name, _ in _served(sweep)]
    assert names == [
        "none float16 · vllm",
        "smoothquant W8A8-int8 · vllm",
        "none float16 · vllm dtype float16",
        "rtn W4A16-g32 · vllm dtype float16",
        "smoothquant W8A8-int8 · vllm dtype float16",
    ]


def test_an_engine_that_leaves_no_choice_is_warned_of(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trtllm-serve").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    methods = [
        {"method": "none", "parameters": {"dtype": "bf16"}},
        {"method": "fp8", "parameters": {"scheme": "FP8_DYNAMIC"}},
    ]
    sweep = _checked(tmp_path, monkeypatch, {"engine": "tensorrt_llm"}, H100, methods)
    assert [cell.name for cell in sweep.cells] == ["none bfloat16 · tensorrt_llm", "fp8 FP8-dynamic · tensorrt_llm"]
    assert sweep.warnings == (
        "fp8 FP8-dynamic computes in float16 in tensorrt_llm, its baseline in bfloat16, and tensorrt_llm serves no "
        "baseline in float16, so ratios mix quantization with the change of dtype",
    )


def test_a_second_baseline_needs_no_baseline_of_its_own(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = [{"method": "none"}, {"method": "none", "parameters": {"dtype": "bf16"}}, METHODS[1]]
    sweep = _checked(tmp_path, monkeypatch, {"engine": "vllm"}, H100, methods)
    assert [name for name, _ in _served(sweep)] == [
        "none float16 · vllm",
        "none bfloat16 · vllm",
        "rtn W4A16-g32 · vllm",
    ]


def test_on_a_gpu_the_checkpoint_decides(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods store what they leave unquantized in float16, whatever the baseline's type is."""
    methods = [{"method": "none", "parameters": {"dtype": "bf16"}}, METHODS[1]]
    sweep = _checked(tmp_path, monkeypatch, {"engine": "vllm"}, H100, methods)
    assert _served(sweep) == [
        ("none bfloat16 · vllm", "bfloat16"),
        ("none bfloat16 · vllm dtype float16", "float16"),
        ("rtn W4A16-g32 · vllm dtype float16", "float16"),
    ]
