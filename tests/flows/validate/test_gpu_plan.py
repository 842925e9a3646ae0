"""configs/gpu.yaml as far as it can be held without a GPU: every name, parameter and pair, on a device that is planted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import engines.runtime.installing.pythons as pythons
import flows.validate.plan
from engines.types import Device
from flows.plan.source import PlanError, load_plan
from flows.sources.model_facts import ModelFacts
from flows.validate.plan import check
from tests.support.hub_server import use

PLAN = Path(__file__).resolve().parents[3] / "configs" / "gpu.yaml"
QWEN = ModelFacts(
    "Qwen2.5-7B-Instruct", "hub", "Qwen/Qwen2.5-7B-Instruct", 7_615_616_512, (3584, 18944), 32768, 152064, 0, ""
)


def _cells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, has_trtllm: bool) -> dict[str, str | None]:
    h200 = Device("cuda", "NVIDIA H200", frozenset({"sm90"}), 141 * 1024**3)
    monkeypatch.setattr(flows.validate.plan, "find_device", lambda kind: h200)
    monkeypatch.setattr(flows.validate.plan, "look_up_model", lambda text, base: QWEN)
    if has_trtllm:
        (tmp_path / "trtllm-serve").symlink_to(sys.executable)
        monkeypatch.setenv("PATH", str(tmp_path))
    return {cell.name: cell.unsupported for cell in check(load_plan(PLAN)).cells}


def test_every_pair_of_the_plan_for_gpus_is_supported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cells = _cells(monkeypatch, tmp_path, has_trtllm=True)
    assert {name: why for name, why in cells.items() if why} == {}
    assert len(cells) == 18  # methods store float16: the bfloat16 baseline is measured in float16, too
    assert {name.rsplit(" · ")[-1].split()[0] for name in cells} == {"vllm", "sglang", "tensorrt_llm"}


def test_without_tensorrt_llm_its_rows_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    cells = _cells(monkeypatch, tmp_path, has_trtllm=False)
    missing = {name for name, why in cells.items() if why and "no trtllm-serve on the PATH" in why}
    assert missing == {name for name in cells if name.endswith("tensorrt_llm")}


def test_without_a_python_for_its_environment_a_row_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pythons, "OWN", "3.14")
    monkeypatch.setattr(pythons, "_installed", lambda version: "")
    pythons._another.cache_clear()
    _cells(monkeypatch, tmp_path, has_trtllm=True)
    warnings = check(load_plan(PLAN)).warnings
    for name, version in {"sglang-cuda": "3.12", "vllm-cuda": "3.11"}.items():
        assert [line for line in warnings if f"'{name}' takes Python" in line and f"uv fetches {version}" in line]
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    sweep = check(load_plan(PLAN))
    without = {cell.name for cell in sweep.cells if cell.unsupported and "Install Python 3.1" in cell.unsupported}
    assert without == {cell.name for cell in sweep.cells if "tensorrt_llm" not in cell.name}
    assert not [line for line in sweep.warnings if "uv fetches" in line]
    pythons._another.cache_clear()


def test_a_rounded_kv_cache_is_no_golden_prompt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """FP8 keys and values move log-probabilities by more than any float type: the golden prompt would fail them."""
    kv = "  - {engine: vllm, options: {kv_cache_dtype: fp8}, methods: [bf16, fp8]}\n  - {engine: vllm,"
    plan = tmp_path / "kv.yaml"
    plan.write_text(PLAN.read_text().replace("  - {engine: vllm,", kv, 1))
    h200 = Device("cuda", "NVIDIA H200", frozenset({"sm90"}), 141 * 1024**3)
    monkeypatch.setattr(flows.validate.plan, "find_device", lambda kind: h200)
    monkeypatch.setattr(flows.validate.plan, "look_up_model", lambda text, base: QWEN)
    cells = check(load_plan(plan)).cells
    exact = {
        (cell.quantization.label, cell.choice.options.get("kv_cache_dtype")): cell.computes_exactly for cell in cells
    }
    assert exact["bf16", "auto"]
    assert not exact["bf16", "fp8"]
    assert not exact["fp8 FP8-dynamic", "auto"]


def test_without_a_network_it_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    h200 = Device("cuda", "NVIDIA H200", frozenset({"sm90"}), 141 * 1024**3)
    monkeypatch.setattr(flows.validate.plan, "find_device", lambda kind: h200)
    use(monkeypatch, "http://127.0.0.1:9", tmp_path / "hf")
    with pytest.raises(PlanError, match=r"gpu\.yaml:12: hub model 'Qwen/Qwen2\.5-7B-Instruct' is not in the") as raised:
        check(load_plan(PLAN))
    assert "the hub at http://127.0.0.1:9 cannot be reached" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 2  # and the fix
