"""What engines say of themselves in their logs, from lines that they wrote."""

from __future__ import annotations

from engines.registry import engines_by_name


def test_llama_servers_log_is_read() -> None:
    log = (
        "0.00.310.631 I load_tensors:   CPU_Mapped model buffer size =   256.63 MiB\n"
        "0.00.460.477 I llama_kv_cache: size =  225.00 MiB (  1280 cells,  30 layers,  8/8 seqs), K (f16):  112.50 MiB\n"
        "bitfrontier-version 2026.10.11549 on http://127.0.0.1:1234\n"
    )
    facts = engines_by_name()["llama_cpp"].read_facts(log)
    assert facts["version"] == "2026.10.11549"
    assert facts["weights_bytes"] == int(256.63 * 1024**2)
    assert (facts["kv_cache_bytes"], facts["kv_cache_tokens"]) == (225 * 1024**2, 1280 * 8)
    assert engines_by_name()["llama_cpp"].read_facts("") == {"dtype": "float16", "kernel": "ggml"}


def test_sglangs_log_is_read() -> None:
    log = (
        "bitfrontier-version 0.5.23\n"
        "[2026-11-21 11:41:58] server_args={'dtype': 'float32', 'attention_backend': 'torch_native', 'device': 'cpu'}\n"
        "[2026-11-21 11:42:26] KV Cache is allocated. dtype: torch.float32, #tokens: 4096, K size: 0.09 GB\n"
    )
    assert engines_by_name()["sglang"].read_facts(log) == {
        "version": "0.5.23",
        "dtype": "float32",
        "kv_cache_dtype": "float32",
        "kernel": "torch_native attention",
    }


def test_tritons_log_is_read() -> None:
    log = 'bitfrontier-facts {"version": "5.17.0", "dtype": "float32"}\n| server_version    | 2.51.0    |\n'
    assert engines_by_name()["triton"].read_facts(log) == {"version": "2.51.0", "dtype": "float32"}


def test_vllms_log_is_read() -> None:
    log = (
        "INFO Initializing a V1 LLM engine (v0.32.0) with config: model='x', dtype=torch.float32, max_seq_len=2050\n"
        "INFO Selected CPUInt8ScaledMMLinearKernel for CompressedTensorsW8A8Int8\n"
        "INFO CPU KV cache size: 23,296 tokens\n"
    )
    assert engines_by_name()["vllm"].read_facts(log) == {
        "version": "0.32.0",
        "kernel": "CPUInt8ScaledMMLinearKernel",
        "dtype": "float32",
        "kv_cache_tokens": 23296,
    }


def test_vllms_log_on_an_h100_is_read() -> None:
    """Lines of vLLM 0.26.0 (evidence/gpu-h100-2026-11-27)."""
    log = (
        "(EngineCore pid=5491) INFO 11-27 18:04:09 [compressed_tensors_wNa16.py:137] Using MacheteLinearKernel for "
        "CompressedTensorsWNA16\n"
        "(EngineCore pid=5491) INFO 11-27 18:04:10 [cuda.py:482] Using FLASH_ATTN attention backend out of potential "
        "backends: ['FLASH_ATTN', 'TRITON_ATTN', 'FLEX_ATTENTION'].\n"
        "(EngineCore pid=5067) INFO 11-27 18:02:09 [model_runner.py:305] Model loading took 5.53 GiB and 2.8 seconds\n"
        "(EngineCore pid=5067) INFO 11-27 18:02:38 [kv_cache_utils.py:2177] GPU KV cache size: 603,542 tokens\n"
    )
    assert engines_by_name()["vllm"].read_facts(log) == {
        "kernel": "MacheteLinearKernel",
        "attention": "FLASH_ATTN",
        "weights_bytes": int(5.53 * 1024**3),
        "kv_cache_tokens": 603542,
    }
