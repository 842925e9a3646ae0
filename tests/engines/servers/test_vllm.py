"""Which types vLLM computes in, by processor and model."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.registry import engines_by_name
from engines.types import Device, Serving
from quant.types import Architecture, Scheme

AVX2 = Device("cpu", "old", frozenset({"avx2"}), 1)
AVX512 = Device("cpu", "new", frozenset({"avx2", "avx512f"}), 1)
AMX = Device("cpu", "newer", frozenset({"avx2", "avx512f", "amx_int8", "amx_bf16"}), 1)
H100 = Device("cuda", "H100", frozenset({"sm90"}), 1)
W4A16 = Scheme("int4", group_size=64)
DEFAULTS = {option.name: option.default for option in engines_by_name()["vllm"].options}


def test_vllm_computes_w4a16_on_a_cpu_in_sixteen_bits(tmp_path: Path) -> None:
    vllm, w4a16 = engines_by_name()["vllm"], Scheme("int4", group_size=64)
    refusal = vllm.unsupported(w4a16, "compressed-tensors", AVX512, {**DEFAULTS, "dtype": "float32"})
    assert refusal == "vllm on CPU has no float32 kernel for W4A16; leave `dtype` out, or choose bfloat16 or float16"
    dtypes = {}
    for scheme in (w4a16, Scheme("int8", "int8"), Scheme("float16")):
        command = vllm.launch(Serving(tmp_path, AVX512, 2, 64, scheme=scheme), **DEFAULTS).command
        dtypes[scheme.weights] = command[command.index("--dtype") + 1]
    assert dtypes == {"int4": "auto", "int8": "float32", "float16": "float32"}


def test_vllm_computes_w8a8_in_bfloat16_where_the_cpu_has_amx() -> None:
    vllm, w8a8 = engines_by_name()["vllm"], Scheme("int8", "int8")
    assert [vllm.computes_in(w8a8, device, DEFAULTS) for device in (AVX2, AVX512, AMX)] == [
        "float32",
        "float32",
        "bfloat16",
    ]
    for dtype in ("float32", "float16"):
        options = {**DEFAULTS, "dtype": dtype}
        assert vllm.unsupported(w8a8, "compressed-tensors", AVX512, options) is None
        refusal = vllm.unsupported(w8a8, "compressed-tensors", AMX, options)
        assert refusal == "vllm computes W8A8-int8 in bfloat16 alone on a CPU with AMX; leave `dtype` out"


@pytest.mark.parametrize(
    ("dtype", "reason"), [("auto", None), ("bfloat16", None), ("float16", "Gemma3ForCausalLM in float16")]
)
@pytest.mark.parametrize("device", [AVX512, H100])
def test_vllm_computes_some_models_in_no_float16(device: Device, dtype: str, reason: str | None) -> None:
    vllm, gemma = engines_by_name()["vllm"], Architecture("Gemma3ForCausalLM")
    refusal = vllm.unsupported_model(gemma, W4A16, "compressed-tensors", device, {**DEFAULTS, "dtype": dtype})
    assert (refusal is None) if reason is None else (reason in str(refusal))
