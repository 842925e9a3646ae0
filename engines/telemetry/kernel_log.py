"""What an engine's log says of the kernels that its layers ran on, and which of its lines mean a slow path.

One table for all engines: their lines do not collide, and servers share code (SGLang has vLLM's, Ollama llama.cpp's). A
log is untrusted text: what is quoted of it is cut and without control characters, and nothing in it is executed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from engines.runtime.process import read_log

MAX_QUOTE_CHARACTERS = 200
MAX_TOLD = 8
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Sign:
    """A line that means a slow path: `means` says which, with the pattern's groups in it, `remedy` what to do."""

    pattern: re.Pattern[str]
    means: str
    remedy: str


REPORTED = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        # vLLM 0.32, model_executor/kernels/linear/__init__.py; before it layers/quantization/*_marlin.py and others
        r"(?:Selected|Using) (\w+Kernel for [\w-]+(?: linear| GEMM)?)",
        # vLLM before 0.32, layers/quantization/gptq_marlin.py, awq_marlin.py; SGLang 0.5.23, gptq/gptq.py
        r"The model is convertible to (\w+) during runtime\. Using \w+ kernel",
        r"Kernel: selected -> `(\w+)`",  # GPTQModel 7.7.0, utils/importer.py
        r"Using (exllama kernels v\d)",  # TGI, server/text_generation_server/layers/gptq/__init__.py
        r"((?:CPU_REPACK|AMX) model buffer size = +[\d.]+ MiB)",  # llama.cpp, load_tensors
        r"system_info: .*?\| (CPU : .*?)[ |]*$",  # llama.cpp's instruction sets
    )
)

SLOW = (
    # older vLLM, config.py: _verify_quantization (not in 0.32); older SGLang, configs/model_config.py (not in 0.5.23)
    Sign(
        re.compile(
            r"\b(\w+) quantization is not fully optimized yet\. The speed can be slower than non-quantized models"
        ),
        "the engine itself calls its {0} kernels slower than no quantization",
        "let the engine choose the kernel (no forced `quantization`), or use a format that it is quick in",
    ),
    # vLLM before 0.32, layers/quantization/gptq_marlin.py and awq_marlin.py; SGLang 0.5.23, quantization/gptq/gptq.py
    # and awq/awq.py
    Sign(
        re.compile(r"Detected that the model can run with (\w+), however you specified quantization=(\w+) explicitly"),
        "the kernel {1} was forced where the faster {0} would run",
        "leave `quantization` out, so that {0} is chosen",
    ),
    # vLLM 0.32, layers/quantization/auto_awq.py; SGLang 0.5.23, layers/quantization/awq/awq.py
    Sign(
        re.compile(r"is not supported by (\w*AWQMarlin)\. Falling back to unoptimized AWQ kernels"),
        "layers whose shape {0} does not take run on unoptimized AWQ kernels",
        "quantize with a group size that Marlin takes (its widths are multiples of 64 and 128)",
    ),
    # vLLM 0.32, layers/quantization/auto_gptq.py, auto_awq.py; SGLang 0.5.23, layers/quantization/awq/awq.py
    Sign(
        re.compile(r"is not supported by (\w*Mo[eE]Marlin)\. Falling back to Moe WNA16 kernels"),
        "experts whose shape {0} does not take run on the slower WNA16 kernels",
        "quantize with a group size that Marlin takes",
    ),
    # vLLM 0.32, layers/quantization/utils/marlin_utils.py
    Sign(
        re.compile(r"Marlin requires thread-tile padding for (?:some weight shapes|the MoE intermediate size)"),
        "weights are padded for Marlin, and activations at every step",
        "another format for this model's widths, or fewer ways of tensor parallelism",
    ),
    # vLLM 0.32, layers/quantization/utils/marlin_utils.py
    Sign(
        re.compile(r"You are running Marlin kernel with bf16 on GPUs before SM90"),
        "Marlin runs in bfloat16 on a GPU where float16 is faster",
        "use `dtype: float16`",
    ),
    # vLLM 0.32, layers/quantization/utils/marlin_utils_fp8.py, marlin_utils_fp4.py; SGLang 0.5.23, marlin_utils_fp8.py
    Sign(
        re.compile(r"Your GPU does not have native support for (FP\d) computation but FP\d quantization is being used"),
        "this GPU has no {0} units: the weights alone are {0}, and Marlin computes in 16 bits",
        "expect less memory but no faster computation; W4A16 or INT8 suit this GPU better",
    ),
    # vLLM 0.32, model_executor/kernels/linear/__init__.py
    Sign(
        re.compile(r"NVFP4 linear falling back to the slow and unoptimized emulation backend"),
        "NVFP4 is emulated: weights are dequantized before every product",
        "use a GPU with FP4 units, or W4A16",
    ),
    # vLLM 0.32, layers/fused_moe/experts/nvfp4_emulation_moe.py, ocp_mx_emulation_moe.py, mxfp8_emulation_moe.py
    Sign(
        re.compile(r"Using (\w+EmulationTritonExperts) M[oO]E backend"),
        "the experts' quantization is emulated by {0}: weights are dequantized on the fly",
        "use a device with units for this format, or W4A16",
    ),
    # vLLM 0.32, layers/quantization/utils/fp8_utils.py; SGLang says the same
    Sign(
        re.compile(r"Using default W8A8 Block FP8 kernel config\. Performance might be sub-optimal"),
        "the block FP8 kernel has no configuration tuned for this device and these shapes",
        "tune it (vLLM's benchmarks/kernels/benchmark_w8a8_block_fp8.py), or use per-channel FP8",
    ),
    # vLLM 0.32, layers/fused_moe/fused_moe.py; SGLang 0.5.23, moe_runner/triton_utils/fused_moe_triton_config.py
    Sign(
        re.compile(r"Using default MoE (?:kernel )?config\. Performance might be sub-optimal"),
        "the experts' kernel has no configuration tuned for this device and these shapes",
        "tune it (vLLM's benchmarks/kernels/benchmark_moe.py)",
    ),
    # SGLang 0.5.23, layers/quantization/gguf.py
    Sign(
        re.compile(r"There is no support for fast MoE kernel for current quantization method"),
        "experts run one after another, without a fused kernel",
        "use another format for a mixture of experts",
    ),
    # vLLM 0.32, model_executor/kernels/linear/mixed_precision/zentorch.py
    Sign(
        re.compile(r"ZentorchWNA16 fast path not eligible for this layer"),
        "layers run on vLLM's plain W4A16 kernel for CPUs, not on zentorch's",
        "use the GPTQ layout of compressed-tensors instead of AWQ's",
    ),
    # vLLM 0.32, model_executor/layers/utils.py
    Sign(
        re.compile(r"Failed to create oneDNN linear, fallback to torch linear"),
        "unquantized layers run without oneDNN's packed weights",
        "use a type that oneDNN takes on this CPU",
    ),
    # engines/reference_server/model_loading.py, our own server around Transformers: compressed-tensors has no kernels
    # there
    Sign(
        re.compile(r"torch linear on dequantized weights, quantization emulated"),
        "quantization is emulated: weights are dequantized when they are loaded, so no fewer bytes are read",
        "take this cell's accuracy, and its speed from an engine with kernels for the format",
    ),
    # Transformers 5.17, quantizers/quantizer_finegrained_fp8.py, quantizer_mxfp4.py
    Sign(
        re.compile(r"[Ww]e will default to dequantizing the model to (\w+)"),
        "the weights are dequantized to {0} when they are loaded: nothing of the format is left",
        "use a device that the format has kernels for",
    ),
    # bitsandbytes 0.50.2, nn/modules.py
    Sign(
        re.compile(r"Input type into Linear4bit is torch\.(\w+), but bnb_4bit_compute_dtype=torch\.(\w+)"),
        "bitsandbytes computes in {1} on activations of {0}",
        "set its compute type to that of the model",
    ),
    # bitsandbytes 0.50.2, autograd/_functions.py
    Sign(
        re.compile(r"MatMul8bitLt: inputs will be cast from torch\.(\w+) to float16 during quantization"),
        "LLM.int8 casts the activations of every layer from {0} to float16",
        "run the model in float16",
    ),
    # GPTQModel 7.7.0, nn_modules/qlinear/torch.py: its class without a kernel, which dequantizes in torch
    Sign(
        re.compile(r"Kernel: selected -> `(TorchLinear)`"),
        "GPTQModel found no kernel for this device ({0} dequantizes before every product)",
        "use an engine with a GPTQ kernel for this device",
    ),
    # TGI, server/text_generation_server/layers/gptq/__init__.py
    Sign(
        re.compile(r"Disabling exllama because desc_act=True"),
        "the checkpoint's activation order keeps TGI from its fast GPTQ kernel",
        "quantize with `actorder: false`",
    ),
    # TGI, the same file
    Sign(
        re.compile(r"Exllama GPTQ cuda kernels \(which are faster\) could have been used, but are not"),
        "TGI's fast GPTQ kernels are not installed",
        "use TGI's own image, or build it with BUILD_EXTENSIONS=True",
    ),
    # TGI, server/text_generation_server/layers/bnb.py (the typing error is theirs)
    Sign(
        re.compile(r"Bitsandbytes 8bit is deprecated, using `eetq` is a drop-in replacement"),
        "TGI itself calls its bitsandbytes INT8 much slower than EETQ",
        "use another INT8 format",
    ),
    # llama.cpp, load_tensors; Ollama's log has it too
    Sign(
        re.compile(r"offloaded (\d+)/(?!\1\b)(\d+) layers to GPU"),
        "{0} of {1} layers lie on the GPU, the others run on the CPU",
        "offload all layers, or use a smaller type",
    ),
    # llama.cpp, in the executable of xllamacpp 2026.10.11549
    Sign(
        re.compile(r"no usable GPU found, --gpu-layers option will be ignored"),
        "llama.cpp was built without this machine's GPU",
        "use a build with its backend",
    ),
    # llama.cpp, src/llama-model-loader.cpp: done_getting_tensors; one tensor alone is the embedding, which is looked up
    Sign(
        re.compile(
            r"tensor '[^'\n]+' \((\w+)\) \(and ([1-9]\d*) others\) cannot be used with preferred buffer type (\w+), "
            r"using (\w+) instead"
        ),
        "{1} more tensors like one of {0} could not be laid out for {2}",
        "use a type that {2} takes (Q4_0, Q4_K and Q8_0 are the common ones)",
    ),
    # llama.cpp and Ollama, the list of what is compiled in; on x86 SSE3 always is
    Sign(
        re.compile(r"CPU : SSE3 = 1 \|(?!.*AVX2 = 1)"),
        "ggml runs without code for AVX2 on this x86 processor",
        "use a build for this processor (GGML_NATIVE, or GGML_CPU_ALL_VARIANTS)",
    ),
)


def kernel_facts(log: Path) -> dict[str, str]:
    """Of an engine's log file: `kernels_told`, what it says of kernels, and `kernel_warnings`, one slow path a line.

    Without such a line, or a log (a server that runs elsewhere has none here), the fact is absent.
    """
    if not log.exists():
        return {}
    text = ANSI.sub("", read_log(log))
    facts = {"kernels_told": "; ".join(reported_lines(text)), "kernel_warnings": "\n".join(slow_paths(text))}
    return {name: value for name, value in facts.items() if value}


def reported_lines(log: str) -> list[str]:
    """Each kernel that the log names, once, in the table's order."""
    lines = dict.fromkeys(_printable(line) for pattern in REPORTED for line in pattern.findall(log))
    return list(lines)[:MAX_TOLD]


def slow_paths(log: str) -> list[str]:
    """Every slow path that a line of the log means: what it is, what helps, and that line."""
    paths = []
    for sign in SLOW:
        match = sign.pattern.search(log)
        if match:
            groups = match.groups()
            at = match.start()
            start, end = max(log.rfind("\n", 0, at) + 1, at - MAX_QUOTE_CHARACTERS // 2), log.find("\n", at)
            line = _printable(log[start : end if end >= 0 else len(log)])
            paths.append(f"{sign.means.format(*groups)}; {sign.remedy.format(*groups)} (its log: “{line}”)")
    return paths


def _printable(text: str) -> str:
    plain = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return plain if len(plain) <= MAX_QUOTE_CHARACTERS else plain[: MAX_QUOTE_CHARACTERS - 1] + "…"
