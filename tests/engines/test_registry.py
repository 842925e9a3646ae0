"""One contract for all engines, and what each says of pairs that cannot work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.registry import Engine, engine, engines_by_name
from engines.runtime.environments import PROGRAMS, known_environments
from engines.types import Device, Dialect, Launch, Serving
from quant.registry import MethodError, known_formats
from quant.types import Architecture, Scheme

AVX2 = Device("cpu", "old", frozenset({"avx2"}), 1)
AVX512 = Device("cpu", "new", frozenset({"avx2", "avx512f"}), 1)
H100 = Device("cuda", "H100", frozenset({"sm90"}), 1)


@pytest.fixture(params=sorted(engines_by_name()))
def spec(request: pytest.FixtureRequest) -> Engine:
    return engines_by_name()[request.param]


def _defaults(target: Engine) -> dict[str, Any]:
    return {option.name: option.default for option in target.options}


def test_its_environments_exist(spec: Engine) -> None:
    assert set(spec.environments.values()) <= {*known_environments(), *PROGRAMS}


@pytest.mark.parametrize("device", [AVX2, H100])
def test_it_listens_on_loopback_with_the_key(
    spec: Engine, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not spec.environments:
        pytest.skip("it starts nothing")
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path))
    launch = spec.launch(Serving(tmp_path, device, 2, 2050, 4321, "the-key"), **_defaults(spec))
    text = " ".join([*launch.command, launch.environment.get("OLLAMA_HOST", "")])
    assert "4321" in text
    assert str(tmp_path) in text or spec.name == "ollama"  # it is given its file over HTTP
    assert "0.0.0.0" not in text
    ours = (
        "engines.launchers.deepspeed_server",
        "engines.launchers.llama_cpp_server",
        "engines.launchers.openvino_server",
        "engines.launchers.transformers_server",
        "engines.launchers.triton_server",
    )  # they know no other host
    assert any(
        word in text
        for word in ("--host 127.0.0.1", "--hostname 127.0.0.1", "--http-address 127.0.0.1", " 127.0.0.1:4321", *ours)
    )
    assert "the-key" not in text  # a command line can be read by every user of the machine
    if spec.name not in ("tensorrt_llm", "ollama", "triton_vllm"):  # they know no key, or by their command line alone
        assert "the-key" in launch.environment.values()
    written = [file.read_text() for file in tmp_path.rglob("model.json")]
    texts = [text, launch.environment.get("OLLAMA_CONTEXT_LENGTH", ""), *written]
    assert any("2050" in part or "2057" in part for part in texts)  # SGLang keeps 7 tokens of its context free


def test_some_method_makes_a_baseline_that_it_loads(spec: Engine) -> None:
    """An engine without an unquantized model to be compared with could not be in any plan."""
    formats = set(known_formats())
    devices = [device for device in (AVX2, AVX512, H100) if spec.probe or device.kind in spec.environments]
    assert devices
    for device in devices:
        assert any(
            spec.unsupported(Scheme("float16", "float16"), name, device, _defaults(spec)) is None for name in formats
        )


def test_a_strange_format_is_refused(spec: Engine) -> None:
    if not spec.environments:
        return  # what an attached server loads is its own affair
    refusal = str(spec.unsupported(Scheme("int4"), "strange", AVX2, _defaults(spec)))
    assert "strange" in refusal
    assert spec.name in refusal


@pytest.mark.parametrize(
    ("scheme", "device", "reason"),
    [
        (Scheme("int4", group_size=64), AVX2, "AVX-512"),
        (Scheme("int4", group_size=64), AVX512, None),
        (Scheme("int8"), AVX2, "W8A16"),
        (Scheme("int8", "int8"), AVX2, None),
        (Scheme("fp8", "fp8"), AVX2, None),
        (Scheme("fp8", "fp8", static_activations=True), AVX2, "static FP8"),
        (Scheme("fp8", "fp8", kv_cache="fp8"), AVX2, "fp8 KV cache"),
        (Scheme("NVFP4A16", group_size=16), AVX512, "NVFP4A16"),
        (Scheme("NVFP4A16", group_size=16), H100, None),
        (Scheme("int4", group_size=64), H100, None),
        (Scheme("fp8", "fp8", static_activations=True), H100, None),
    ],
)
def test_what_vllm_cannot_do(scheme: Scheme, device: Device, reason: str | None) -> None:
    vllm = engines_by_name()["vllm"]
    refusal = vllm.unsupported(scheme, "compressed-tensors", device, _defaults(vllm))
    assert (refusal is None) if reason is None else (reason in str(refusal))


STATE, EXPERTS = Architecture("MambaForCausalLM", recurrent=True), Architecture("MixtralForCausalLM", experts=True)
FORMATS = {"transformers": "compressed-tensors", "llama_cpp": "gguf", "triton": "gptq", "deepspeed": "awq"}
W4A16 = Scheme("int4", group_size=64)
QWEN, WINDOWED = Architecture("Qwen3MoeForCausalLM", experts=True), Architecture("MistralForCausalLM", window=4096)
F16 = Scheme("float16")
COHERE = Architecture("Cohere2ForCausalLM", window=64)


@pytest.mark.parametrize(
    ("engine", "architecture", "scheme", "device", "reason"),
    [
        *(
            (engine, STATE, Scheme("float16", "float16"), AVX2, "layers of MambaForCausalLM keep a state")
            for engine in ("transformers", "triton", "deepspeed")
        ),
        ("transformers", EXPERTS, Scheme("int8", "int8"), AVX2, "no activations of experts, so W8A8-int8 would not"),
        ("transformers", EXPERTS, Scheme("fp8", "fp8"), H100, "no activations of experts, so FP8-dynamic would not"),
        (
            "transformers",
            EXPERTS,
            Scheme("int4", group_size=64),
            AVX2,
            "experts of MixtralForCausalLM: llm-compressor renames them",
        ),
        ("transformers", EXPERTS, Scheme("float16"), AVX2, None),
        ("transformers", QWEN, Scheme("int4", group_size=64), AVX2, None),
        *((engine, QWEN, W4A16, AVX2, "experts from compressed-tensors alone") for engine in ("triton", "deepspeed")),
        ("ollama", WINDOWED, Scheme("float16"), AVX2, "without its sliding window"),
        ("transformers", QWEN, Scheme("int4", group_size=64, symmetric=False), AVX2, "no zero points of experts"),
        (
            "llama_cpp",
            WINDOWED,
            Scheme("float16"),
            AVX2,
            "MistralForCausalLM without its sliding window. Plan no text of more than 4096 tokens",
        ),
        ("llama_cpp", Architecture("MistralForCausalLM"), Scheme("float16"), AVX2, None),
        ("llama_cpp", Architecture("Gemma3ForCausalLM", window=512), Scheme("float16"), AVX2, None),
        *(
            ("llama_cpp", Architecture(f"{name}ForCausalLM", windowed=tuple(map(bool, layers))), F16, AVX2, reason)
            for name, layers, reason in (
                ("Gemma3", [1, 1, 1, 1, 1, 0, 1], None),
                ("Gemma3", [1, 0, 1, 0], "takes other layers of Gemma3ForCausalLM for those with a sliding window"),
                ("Cohere2", [1, 1, 1, 0], None),
                ("GptOss", [1, 1, 0], "takes other layers"),
                ("Exaone4", [1, 1, 1, 0] * 16, None),
                ("Exaone4", [1, 1, 1, 0], "takes other layers"),
                ("Exaone4", [0, 0, 0, 0], None),
                ("Olmo3", [1, 0, 1, 0], None),
            )
        ),
        ("transformers", EXPERTS, Scheme("bfloat16", "bfloat16"), AVX2, None),
        ("vllm", EXPERTS, Scheme("float16", "float16"), AVX512, "vllm on CPU has no kernel for the experts"),
        ("vllm", EXPERTS, Scheme("float16", "float16"), H100, None),
        ("vllm", STATE, Scheme("float16", "float16"), AVX2, None),
        *(
            ("vllm", Architecture("FalconH1ForCausalLM", output_widths=(128, odd)), W4A16, AVX512, reason)
            for odd, reason in ((292, "multiple of 32; FalconH1ForCausalLM has one of 292"), (288, None))
        ),
        ("vllm", Architecture("FalconH1ForCausalLM", output_widths=(292,)), W4A16, H100, None),
        ("vllm", COHERE, Scheme("float32"), AVX2, "one token more than Transformers in Cohere2ForCausalLM"),
        ("vllm", COHERE, Scheme("float16"), H100, None),
        ("vllm", Architecture("Cohere2ForCausalLM"), Scheme("float32"), AVX2, None),
    ],
)
def test_architectures_that_an_engine_cannot_serve(
    engine: str, architecture: Architecture, scheme: Scheme, device: Device, reason: str | None
) -> None:
    stored_as = "safetensors" if scheme.unquantized else FORMATS.get(engine, "")
    chosen = engines_by_name()[engine]
    refusal = chosen.unsupported_model(architecture, scheme, stored_as, device, _defaults(chosen))
    assert (refusal is None) if reason is None else (reason in str(refusal))


@pytest.mark.parametrize(("tokens", "window"), [(4095, None), (4096, None), (4097, 4096)])
def test_a_window_that_holds_all_texts_is_none(tokens: int, window: int | None) -> None:
    assert WINDOWED.within(tokens).window == window
    assert STATE.within(tokens) == STATE


def test_a_llama_server_of_the_users_own(tmp_path: Path) -> None:
    llama_cpp, given = engines_by_name()["llama_cpp"], tmp_path / "llama-server"
    assert (
        llama_cpp.refused({"parallel": 8, "executable": str(given)}, AVX2) == f"no executable llama-server at '{given}'"
    )
    given.write_text("#!/bin/sh\n")
    given.chmod(0o755)
    options = {"parallel": 8, "executable": str(given)}
    assert llama_cpp.refused(options, AVX2) is None
    command = llama_cpp.launch(Serving(tmp_path, AVX2, 2, 2050, 4321, "the-key"), **options).command
    assert command[-2:] == ("--executable", str(given))


@pytest.mark.parametrize("name", ["vllm", "sglang"])
def test_one_vocabulary_for_many_gpus(name: str, tmp_path: Path) -> None:
    target = engines_by_name()[name]
    options = {option.name: option.default for option in target.options} | {"tensor_parallel": 2, "data_parallel": 4}
    refusal = str(target.refused(options, AVX2))
    assert refusal == "tensor_parallel 2 needs as many GPUs, and this device is a CPU"
    assert target.refused(options, H100) is None
    text = " ".join(target.launch(Serving(tmp_path, H100, 2, 2050, 4321, "the-key"), **options).command)
    words = {"vllm": "--tensor-parallel-size 2", "sglang": "--tp-size 2"}
    assert words[name] in text


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"quantize": "bitsandbytes-nf4"}, "would quantize while it loads; use a method"),
        ({"quantize": "gptq", "dtype": "float16"}, "`quantize` or `dtype`, not both"),
        ({"quantize": "gptq"}, None),
        ({}, None),
    ],
)
def test_what_tgi_is_not_asked_for(changed: dict[str, str], words: str | None, tmp_path: Path) -> None:
    tgi = engines_by_name()["tgi"]
    options = {option.name: option.default for option in tgi.options} | changed
    refusal = tgi.refused(options, H100)
    assert (refusal is None) if words is None else (words in str(refusal))
    command = " ".join(tgi.launch(Serving(tmp_path, H100, 2, 2050, 4321, "k"), **options).command)
    assert ("--quantize" in command) == ("quantize" in changed)


@pytest.mark.parametrize(
    ("scheme", "checkpoint_format", "device", "words"),
    [
        (Scheme("fp8", "fp8", static_activations=True), "modelopt", H100, None),
        (Scheme("NVFP4", "nvfp4", 16), "modelopt", H100, None),
        (Scheme("int8", "int8"), "modelopt", H100, "does not read ModelOpt's W8A8-int8"),
        (Scheme("int8", "int8"), "compressed-tensors", H100, "ModelOpt's formats are what it reads"),
        (Scheme("fp8", "fp8"), "compressed-tensors", H100, None),
        (Scheme("fp8", "fp8"), "compressed-tensors", AVX512, "needs an NVIDIA GPU"),
    ],
)
def test_what_tensorrt_llm_reads(scheme: Scheme, checkpoint_format: str, device: Device, words: str | None) -> None:
    refusal = engines_by_name()["tensorrt_llm"].unsupported(scheme, checkpoint_format, device, {})
    assert (refusal is None) if words is None else (words in str(refusal))


def test_vllm_on_cpu_has_no_fp8_kv_cache() -> None:
    refusal = engines_by_name()["vllm"].refused({"kv_cache_dtype": "fp8"}, AVX2)
    assert refusal == "vllm on CPU has no fp8 KV cache"


@pytest.mark.parametrize(
    ("options", "device", "words"),
    [
        ({"quant": True}, AVX2, "ignores its `quant` settings"),
        ({"kernel_inject": True}, AVX2, "no kernels for a CPU"),
        ({"kernel_inject": True}, H100, "a KV cache of their own"),
        ({}, AVX2, None),
    ],
)
def test_what_deepspeed_would_not_do(options: dict[str, bool], device: Device, words: str | None) -> None:
    refusal = engines_by_name()["deepspeed"].refused({"quant": False, "kernel_inject": False, **options}, device)
    assert (refusal is None) if words is None else (words in str(refusal))


def test_an_engine_with_other_arguments_is_refused() -> None:
    def odd(port: int) -> Launch:
        """Odd."""
        raise AssertionError

    with pytest.raises(MethodError, match=r"engine 'odd' must take \(serving\)"):
        _register(odd)


def test_an_engine_without_docstring_is_refused() -> None:
    def bare(serving: Serving) -> Launch:
        raise AssertionError

    with pytest.raises(MethodError, match="engine 'bare' has no docstring"):
        _register(bare)


def test_an_option_without_type_is_refused() -> None:
    def loose(serving: Serving, *, size=1) -> Launch:  # type: ignore[no-untyped-def]
        """Loose."""
        raise AssertionError

    with pytest.raises(MethodError, match="option 'size' needs a type"):
        _register(loose)


def _register(function: object) -> None:
    dialect = Dialect(prompt_logprobs="none", chunk_tokens="one", metrics=None)
    engine(function.__name__, environments={}, dialect=dialect, unsupported=lambda *_: None)(function)  # type: ignore[attr-defined, arg-type]
