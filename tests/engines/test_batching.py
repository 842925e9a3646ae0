from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.batching import batched_by_option
from engines.registry import engines_by_name
from engines.types import Device, Serving

CPU = Device("cpu", "a test", frozenset({"avx512f"}), 16 * 1024**3)
A100 = Device("cuda", "NVIDIA A100-SXM4-80GB", frozenset({"sm80"}), 80 * 1024**3)
H100 = Device("cuda", "NVIDIA H100", frozenset({"sm90"}), 80 * 1024**3)


def _options(engine: str, **given: Any) -> dict[str, Any]:
    return {option.name: option.default for option in engines_by_name()[engine].options} | given


@pytest.mark.parametrize(
    ("options", "batch"),
    [
        ({"max_batch": 64}, 64),
        ({"max_num_seqs": 8, "data_parallel": 3}, 24),
        ({"max_num_seqs": None}, None),
        ({}, None),
    ],
)
def test_the_option_says_how_many_run_at_once(options: dict[str, Any], batch: int | None) -> None:
    assert batched_by_option(options, CPU) == batch


@pytest.mark.parametrize(
    ("device", "given", "batch"),
    [
        (CPU, {}, 128),
        (A100, {}, 256),
        (H100, {}, 1024),
        (H100, {"data_parallel": 2}, 2048),
        (H100, {"max_num_seqs": 16}, 16),
    ],
)
def test_vllms_own_batch_goes_by_the_device(device: Device, given: dict[str, Any], batch: int) -> None:
    for name in ("vllm", "triton_vllm"):
        if "data_parallel" in _options(name) or "data_parallel" not in given:
            assert engines_by_name()[name].batches(_options(name, **given), device) == batch


def _command(device: Device, folder: Path, **given: Any) -> str:
    launch = engines_by_name()["vllm"].launch(Serving(folder, device, 2, 64), **_options("vllm", **given))
    return " ".join([*launch.command, *(f"{name}={value}" for name, value in launch.environment.items())])


def test_what_a_plan_leaves_open_is_vllms_own(tmp_path: Path) -> None:
    gpu = _command(H100, tmp_path)
    assert not any(word in gpu for word in ("--max-num-seqs", "--enforce-eager", "--kv-cache-memory-bytes"))
    cpu = _command(CPU, tmp_path)
    assert "--max-num-seqs" not in cpu
    assert "--enforce-eager" in cpu
    assert "VLLM_CPU_KVCACHE_SPACE=1" in cpu


def test_what_a_plan_says_is_passed_on(tmp_path: Path) -> None:
    given: dict[str, Any] = {"max_num_seqs": 8, "kv_cache_gib": 3}
    gpu = _command(H100, tmp_path, **given, enforce_eager=True)
    assert all(
        word in gpu for word in ("--max-num-seqs 8", "--enforce-eager", f"--kv-cache-memory-bytes {3 * 1024**3}")
    )
    cpu = _command(CPU, tmp_path, **given, enforce_eager=False)
    assert "--enforce-eager" not in cpu
    assert "VLLM_CPU_KVCACHE_SPACE=3" in cpu
    launch = engines_by_name()["vllm"].launch(Serving(tmp_path, CPU, 2, 64), **_options("vllm", **given))
    assert launch.facts == {"kv_cache_bytes": 3 * 1024**3}
