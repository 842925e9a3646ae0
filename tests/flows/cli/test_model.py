"""`bitfrontier model MODEL`: what a model is, and what takes it here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import engines.telemetry.device
from engines.types import Device
from flows.cli.__main__ import main as _registers_all  # noqa: F401
from flows.cli.app import app
from flows.cli.model.command import UnknownModel
from flows.cli.model.fit import fits_of, group_sizes, weight_bytes
from flows.sources.model_facts import look_up_model
from quant.types import Scheme

CPU = Device("cpu", "made up, 4 cores", frozenset({"avx2"}), 32 * 1024**3)
SAMPLE = "pypi:smollm2-135m-instruct"
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 1,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "hidden_size": 96,
    "tie_word_embeddings": True,
}


@pytest.fixture
def place(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no program of an engine's
    monkeypatch.setattr(engines.telemetry.device, "find_device", lambda *_: CPU)
    configure(tiny_model, **LLAMA)
    return tmp_path


def configure(folder: Path, **keys: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **keys}))


def _model(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["model", *arguments])


def test_what_the_files_say(place: Path) -> None:
    done = _model("tiny")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[:6] == [
        "tiny: LlamaForCausalLM",
        "parameters: 28,512, 27,648 in linear layers; to download: 0 GB",
        "layers: 1",
        "attention heads: 6, with keys and values: 2, of 16 numbers",
        "vocabulary: 8; head: shared with the embedding",
        "positions: 4,096; chat template: no",
    ]
    assert "KV cache: 0.125 KiB for each token in 16 bits" in lines
    assert "group sizes that divide every linear layer: 32" in lines


def test_experts_windows_kinds_of_layers_and_latent_attention(place: Path) -> None:
    configure(place / "tiny", num_experts=4, num_experts_per_tok=2, kv_lora_rank=8, sliding_window=64)
    configure(place / "tiny", layer_types=["sliding_attention"], tie_word_embeddings=None)
    shown = _model("tiny").output
    assert "layers: 1 (1 sliding attention)" in shown
    assert "attention heads: 6, keys and values of all in 8 numbers; window: 64 tokens" in shown
    assert "experts: 4, 2 for each token" in shown
    assert "head: as its class has it" in shown
    assert "KV cache" not in shown


def test_the_matrix_is_that_of_plans(place: Path) -> None:
    pairs = {fit.quantization.method.name: fit.pairs for fit in fits_of(look_up_model("tiny", place), CPU)}
    assert pairs["none"]["transformers"].reason is None
    assert pairs["gguf"]["openvino"].reason is not None
    assert not pairs["gguf"]["openvino"].by_model
    configure(place / "tiny", architectures=["GPT2LMHeadModel"])
    pairs = {fit.quantization.method.name: fit.pairs for fit in fits_of(look_up_model("tiny", place), CPU)}
    assert pairs["rtn"]["transformers"].by_model
    assert pairs["none"]["transformers"].reason is None
    shown = _model("tiny").output
    assert "no: llm-compressor quantizes layers of the class Linear alone, and those of GPT2LMHeadModel are of" in shown
    assert "rtn W4A16-g32 · transformers" in shown


def test_bytes_of_weights_by_hand(place: Path) -> None:
    model = look_up_model("tiny", place)
    assert model.linear_parameters == 96 * 96 + 96 * 192
    others = 2 * (8 * 96 + 96)
    assert weight_bytes(model, Scheme("float16")) == 2 * model.parameters
    assert weight_bytes(model, Scheme("int4", group_size=32)) == round(model.linear_parameters * 4.5 / 8) + others
    assert weight_bytes(model, Scheme("int8")) == model.linear_parameters + others


def test_for_scripts(place: Path) -> None:
    shown = json.loads(_model("tiny", "--json").output)
    assert shown["model"]["shape"]["key_value_heads"] == 2
    assert shown["model"]["group_sizes"] == [32]
    assert shown["device"] == "made up, 4 cores"
    first = next(entry for entry in shown["methods"] if entry["method"] == "none")
    assert first["engines"]["transformers"] == {"reason": None, "by_model": False}


def test_the_sample_before_its_download(place: Path) -> None:
    done = _model(SAMPLE)
    assert done.exit_code == 0, done.output
    assert "attention heads: 9, with keys and values: 3, of 64 numbers" in done.output
    assert "KV cache: 22.5 KiB for each token in 16 bits" in done.output
    assert group_sizes(look_up_model(SAMPLE, place)) == [32, 64]


def test_an_unsuitable_model_is_described_and_refused(place: Path) -> None:
    configure(place / "tiny", architectures=["T5ForConditionalGeneration"], is_encoder_decoder=True)
    done = _model("tiny")
    assert "tiny: T5ForConditionalGeneration" in done.output
    assert "parameters: not read" in done.output
    assert isinstance(done.exception, UnknownModel)
    with pytest.raises(UnknownModel, match="tiny is unsuitable: T5ForConditionalGeneration is an encoder-decoder"):
        raise done.exception


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", r"model folder .*nowhere does not exist \(give a folder, `hub:organisation/name`"),
        ("pypi:nothing", r"no model sample 'pypi:nothing' \(known model samples: smollm2"),
    ],
)
def test_what_is_not_there_is_one_line(place: Path, name: str, words: str) -> None:
    done = _model(name)
    assert isinstance(done.exception, UnknownModel)
    with pytest.raises(UnknownModel, match=words):
        raise done.exception


def test_a_device_that_cannot_be_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Device:
        raise ValueError("CUDA_VISIBLE_DEVICES names a part of a GPU")

    monkeypatch.setattr(engines.telemetry.device, "find_device", fail)
    done = _model("tiny")
    assert isinstance(done.exception, UnknownModel)
    with pytest.raises(UnknownModel, match=r"names a part of a GPU. Name whole GPUs in CUDA_VISIBLE_DEVICES"):
        raise done.exception


def test_what_the_tokenizer_and_the_window_exclude(place: Path) -> None:
    def reason(method: str, engine: str) -> str:
        fits = fits_of(look_up_model("tiny", place), CPU)
        return str(next(fit.pairs[engine].reason for fit in fits if fit.quantization.method.name == method))

    configure(place / "tiny", architectures=["Gemma2ForCausalLM"])
    assert "reads the tokenizer of Gemma2ForCausalLM from tokenizer.model" in reason("gguf", "llama_cpp")
    (place / "tiny" / "tokenizer.model").write_bytes(b"")
    assert reason("gguf", "llama_cpp") == "None"
    configure(place / "tiny", architectures=["MistralForCausalLM"], sliding_window=512)
    assert "MistralForCausalLM without its sliding window. Plan no text of more" in reason("gguf", "llama_cpp")
    assert "llama_cpp loads GGUF, not" in reason("rtn", "llama_cpp")
    configure(place / "tiny", sliding_window=4096)
    assert reason("gguf", "llama_cpp") == "None"


def test_the_tokenizers_class_decides_of_phi_3(place: Path) -> None:
    configure(place / "tiny", architectures=["Phi3ForCausalLM"])
    assert not look_up_model("tiny", place).architecture.gpt2_tokenizer
    file = place / "tiny" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "tokenizer_class": "GPT2Tokenizer"}))
    assert look_up_model("tiny", place).architecture.gpt2_tokenizer
