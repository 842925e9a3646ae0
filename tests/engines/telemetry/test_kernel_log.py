"""Lines as the engines print them (from their sources or from logs that users published), and what each means."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engines.telemetry.kernel_log import REPORTED, SLOW, kernel_facts, reported_lines, slow_paths

SLOW_LINES = {
    "WARNING 08-09 13:57:44 config.py:254] gptq quantization is not fully optimized yet. The speed can be slower than "
    "non-quantized models.": "the engine itself calls its gptq kernels slower than no quantization",
    "[2025-09-28 17:07:09 TP0] mxfp4 quantization is not fully optimized yet. The speed can be slower than "
    "non-quantized models.": "its mxfp4 kernels",
    "INFO 01-23 15:48:33 [gptq_marlin.py:195] Detected that the model can run with gptq_marlin, however you specified "
    "quantization=gptq explicitly, so forcing gptq. Use quantization=gptq_marlin for faster inference": (
        "the kernel gptq was forced where the faster gptq_marlin would run"
    ),
    "Detected that the model can run with awq_marlin, however you specified quantization=awq explicitly, so forcing "
    "awq. Use quantization=awq_marlin for faster inference": "the kernel awq was forced",
    "WARNING Layer 'model.layers.0.mlp.down_proj' is not supported by AutoAWQMarlin. Falling back to unoptimized AWQ "
    "kernels.": "layers whose shape AutoAWQMarlin does not take run on unoptimized AWQ kernels",
    "Layer 'x' is not supported by AWQMarlin. Falling back to unoptimized AWQ kernels.": "whose shape AWQMarlin",
    "Layer 'model.layers.0.mlp.experts' is not supported by GPTQMoeMarlin. Falling back to Moe WNA16 kernels.": (
        "experts whose shape GPTQMoeMarlin does not take"
    ),
    "Marlin requires thread-tile padding for some weight shapes in this model. Activations and/or outputs of the "
    "padded layers are padded/sliced on every forward; performance may be degraded.": "padded for Marlin",
    "You are running Marlin kernel with bf16 on GPUs before SM90. You can consider change to fp16 to achieve better "
    "performance if possible.": "Marlin runs in bfloat16",
    "(Worker_TP0 pid=50) WARNING 06-19 05:51:34 [marlin_utils_fp8.py:103] Your GPU does not have native support for "
    "FP8 computation but FP8 quantization is being used. Weight-only FP8 compression will be used leveraging the "
    "Marlin kernel. This may degrade performance for compute-heavy workloads.": "this GPU has no FP8 units",
    "Your GPU does not have native support for FP4 computation but FP4 quantization is being used. Weight-only FP4 "
    "compression will be used leveraging the Marlin kernel.": "this GPU has no FP4 units",
    "NVFP4 linear falling back to the slow and unoptimized emulation backend as no optimized backend is available "
    "(unavailable reasons:": "NVFP4 is emulated",
    "Using Nvfp4QuantizationEmulationTritonExperts MOE backend. This will dequantize weights on the fly and may be "
    "slower than native quantized MOE.": "emulated by Nvfp4QuantizationEmulationTritonExperts",
    "Using Mxfp8EmulationTritonExperts MoE backend. Weights are dequantized to BF16 on the fly; this is slower than a "
    "native MXFP8 MoE kernel": "emulated by Mxfp8EmulationTritonExperts",
    "(EngineCore pid=280186) WARNING 08-17 01:44:23 [fp8_utils.py:851] Using default W8A8 Block FP8 kernel config. "
    "Performance might be sub-optimal! Config file not found at N=16384,K=5120.json": "block FP8 kernel has no",
    "Using default MoE config. Performance might be sub-optimal! Config file not found at E=8.json": "experts' kernel",
    "Using default MoE kernel config. Performance might be sub-optimal! Config file not found": "experts' kernel",
    "There is no support for fast MoE kernel for current quantization method. Falling back to slow implementation. ": (
        "experts run one after another"
    ),
    "[zen_cpu] ZentorchWNA16 fast path not eligible for this layer (AWQ pack layout or non-int32 storage); falling "
    "back to CPUWNA16LinearKernel (cpu_gemm_wna16).": "plain W4A16 kernel for CPUs",
    "Failed to create oneDNN linear, fallback to torch linear. Exception: unsupported": "without oneDNN",
    'bitfrontier-facts {"version": "5.17.0", "dtype": "float32", "weights_bytes": 544699168, "kernel": "torch linear '
    'on dequantized weights, quantization emulated"}': "quantization is emulated",
    "Using FP8 quantized models requires a GPU or XPU, we will default to dequantizing the model to bf16 since no GPU "
    "or XPU is available": "the weights are dequantized to bf16",
    "Input type into Linear4bit is torch.float16, but bnb_4bit_compute_dtype=torch.float32 (default). This will lead "
    "to slow inference.": "bitsandbytes computes in float32 on activations of float16",
    "MatMul8bitLt: inputs will be cast from torch.float32 to float16 during quantization": "from float32 to float16",
    "INFO  Kernel: selected -> `TorchLinear`.                                        ": "GPTQModel found no kernel",
    "Disabling exllama because desc_act=True": "activation order",
    "Exllama GPTQ cuda kernels (which are faster) could have been used, but are not currently installed, try using "
    "BUILD_EXTENSIONS=True": "are not installed",
    '{"level":"WARN","fields":{"message":"Bitsandbytes 8bit is deprecated, using `eetq` is a drop-in replacement, and '
    'has much better performnce\\n"},"target":"text_generation_launcher"}': "slower than EETQ",
    "llm_load_tensors: offloaded 0/33 layers to GPU": "0 of 33 layers lie on the GPU",
    "warning: no usable GPU found, --gpu-layers option will be ignored": "built without this machine's GPU",
    "0.00.022.417 W llm_load_tensors: tensor 'token_embd.weight' (f16) (and 124 others) cannot be used with preferred "
    "buffer type AMX, using CPU instead": "124 more tensors like one of f16 could not be laid out for AMX",
    'level=INFO source=runner.go:935 msg=system info="CPU : SSE3 = 1 | SSSE3 = 1 | LLAMAFILE = 1 | cgo(clang)" threads=4': (
        "without code for AVX2"
    ),
}
QUIET_LINES = (
    "INFO 09-24 15:46:11 gptq_marlin.py:108] The model is convertible to gptq_marlin during runtime. Using gptq_marlin "
    "kernel.",
    "WARNING 11-21 12:33:01 [vllm.py:1411] Enforce eager set, disabling torch.compile, CUDAGraphs, and JIT kernel warmup.",
    "load_tensors: offloaded 33/33 layers to GPU",
    "done_getting_tensors: tensor 'token_embd.weight' (q6_K) (and 0 others) cannot be used with preferred buffer type "
    "CUDA_Host, using CPU instead",
    "0.00.003.974 I cmn  common_param: system_info: n_threads = 2 (n_threads_batch = 2) / 2 | CPU : SSE3 = 1 | SSSE3 = "
    "1 | AVX = 1 | AVX2 = 1 | F16C = 1 | FMA = 1 | REPACK = 1 | ",
    "system_info: n_threads = 8 (n_threads_batch = 8) / 8 | CPU : NEON = 1 | ARM_FMA = 1 | LLAMAFILE = 1 | ",
    'bitfrontier-facts {"version": "5.17.0", "dtype": "float32", "kernel": "torch linear, unquantized"}',
    "INFO  Kernel: selected -> `TorchAtenAwqLinear`.",
)
TOLD_LINES = {
    "INFO 11-21 [__init__.py:759] Selected CPUInt8ScaledMMLinearKernel for CompressedTensorsW8A8Int8": (
        "CPUInt8ScaledMMLinearKernel for CompressedTensorsW8A8Int8"
    ),
    "INFO 03-20 10:11:26 [compressed_tensors_wNa16.py:112] Using MarlinLinearKernel for CompressedTensorsWNA16": (
        "MarlinLinearKernel for CompressedTensorsWNA16"
    ),
    "Using MacheteLinearKernel for mixed-precision linear": "MacheteLinearKernel for mixed-precision linear",
    "Using CutlassNvFp4LinearKernel for NVFP4 GEMM": "CutlassNvFp4LinearKernel for NVFP4 GEMM",
    "The model is convertible to gptq_marlin during runtime. Using gptq_marlin kernel.": "gptq_marlin",
    "INFO  Kernel: selected -> `TorchAtenAwqLinear`.  ": "TorchAtenAwqLinear",
    "Using exllama kernels v2": "exllama kernels v2",
    "0.00.560.080 I load_tensors:   CPU_REPACK model buffer size =     7.59 MiB": "CPU_REPACK model buffer size = 7.59 MiB",
    "system_info: n_threads = 2 (n_threads_batch = 2) / 2 | CPU : SSE3 = 1 | AVX2 = 1 | REPACK = 1 | ": (
        "CPU : SSE3 = 1 | AVX2 = 1 | REPACK = 1"
    ),
}


@pytest.mark.parametrize("line", SLOW_LINES)
def test_a_line_that_means_a_slow_path(line: str) -> None:
    (slow_path,) = slow_paths(f"before\n{line}\nafter\n")
    assert SLOW_LINES[line] in slow_path
    assert "{" not in slow_path.split(" (its log:")[0]
    assert line.strip()[-20:] in slow_path or "…" in slow_path


@pytest.mark.parametrize("line", QUIET_LINES)
def test_a_line_that_means_none(line: str) -> None:
    assert slow_paths(line) == []


def test_every_sign_has_a_line() -> None:
    for sign in SLOW:
        assert any(sign.pattern.search(line) for line in SLOW_LINES), sign.means
    for pattern in REPORTED:
        assert any(pattern.search(line) for line in TOLD_LINES), pattern.pattern


@pytest.mark.parametrize("line", TOLD_LINES)
def test_a_line_that_names_a_kernel(line: str) -> None:
    assert reported_lines(f"before\n{line}\n{line}\nafter\n") == [TOLD_LINES[line]]


def test_a_planted_log_becomes_facts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert kernel_facts(log) == {}
    log.write_text("nothing of note\n")
    assert kernel_facts(log) == {}
    log.write_text("\n".join([*list(SLOW_LINES)[:3], *list(TOLD_LINES)[:2]]))
    facts = kernel_facts(log)
    assert len(facts["kernel_warnings"].splitlines()) == 2  # of two lines with one meaning the first counts
    assert facts["kernels_told"].count("Kernel for") == 2


def test_what_is_quoted_of_a_log_is_short_and_printable(tmp_path: Path) -> None:
    log = tmp_path / "log"
    long = "x" * 5000
    log.write_text(f"\x1b[31m{long}\x07 offloaded 3/33 layers to GPU \u2028{long}\x1b[0m\n")
    (warning,) = kernel_facts(log)["kernel_warnings"].splitlines()
    assert len(warning) < 400
    assert "offloaded 3/33 layers to GPU" in warning
    assert warning.isprintable()


def test_a_line_of_50_megabytes_takes_little_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 50 * 10**6 + b"\nUsing MarlinLinearKernel for GPTQ\n")
    started = time.process_time()
    assert kernel_facts(log) == {}
    assert time.process_time() - started < 3
