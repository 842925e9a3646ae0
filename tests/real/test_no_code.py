"""llama.cpp's converter and the real Transformers, on a small Llama whose tokenizer is somebody's code."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from engines.runtime.environments import Environment, build, resolve
from engines.runtime.own_packages import ROOT
from tests.support.planted_code import foreign, plant_code

pytestmark = pytest.mark.real
WIDTH, LAYERS = 32, 1


@pytest.fixture(scope="module")
def environment() -> Environment:
    gguf = resolve("gguf")
    build(gguf)
    return gguf


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    folder = tmp_path / "llama"
    folder.mkdir()
    words = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({word: index for index, word in enumerate([*words, "<s>", "</s>"])}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    ends = {"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(ends))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(words) + 2,
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1e4,
        "hidden_act": "silu",
        "torch_dtype": "float16",
        "bos_token_id": len(words),
        "eos_token_id": len(words) + 1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    square, layer = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"], "model.layers.0."
    names = [f"{layer}{endpoint}.weight" for endpoint in [*square, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]]
    tensors = {name: np.zeros((WIDTH, WIDTH), np.float16) for name in names}
    tensors |= {
        f"{layer}{endpoint}.weight": np.ones(WIDTH, np.float16)
        for endpoint in ("input_layernorm", "post_attention_layernorm")
    }
    tensors |= {
        endpoint: np.zeros((len(words) + 2, WIDTH), np.float16)
        for endpoint in ("model.embed_tokens.weight", "lm_head.weight")
    }
    save_file({**tensors, "model.norm.weight": np.ones(WIDTH, np.float16)}, folder / "model.safetensors")
    return folder


def _converted(environment: Environment, model: Path) -> tuple[dict[str, Any], Path]:
    out = model.parent / "job" / "weights"
    out.mkdir(parents=True)
    job = {
        "module": "quant.methods.gguf",
        "file": str(ROOT / "quant/methods/gguf.py"),
        "method": "gguf",
        "threads": 1,
        "seed": 0,
        "model": str(model),
        "out": str(out),
        "takes_calibration": False,
        "calibration": None,
        "parameters": {"scheme": "F16"},
        "versions_of": [],
    }
    (out.parent / "job.json").write_text(json.dumps(job))
    variables = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": str(model.parent / "hub")}
    subprocess.run(
        [*environment.command, "-m", "quant.worker", str(out.parent / "job.json")], env=variables, check=False
    )
    return json.loads((out.parent / "result.json").read_text()), out


def test_a_plain_model_is_converted_and_keeps_its_folders_name(environment: Environment, llama: Path) -> None:
    result, out = _converted(environment, llama)
    assert result["status"] == "ok", result
    assert b"Llama" in (out / "model.gguf").read_bytes()[:2000]


def test_code_beside_a_plain_model_does_not_run(environment: Environment, llama: Path) -> None:
    mark = plant_code(llama)
    result, out = _converted(environment, llama)
    assert not mark.exists()
    assert "wants code of its own to be run" in result["reason"]
    assert not foreign(out)


def test_code_does_not_run_where_the_converter_sees_the_folder_itself(environment: Environment, llama: Path) -> None:
    """The second door alone: in the process `trust_remote_code` is False, though the converter says True."""
    mark = plant_code(llama)
    program = (
        "import sys; from pathlib import Path; from quant.no_remote_code import forbid_remote_code\n"
        "if sys.argv[2] == 'forbid': forbid_remote_code()\n"
        "from transformers import AutoTokenizer; AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)"
    )
    variables = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": str(llama.parent / "hub")}

    def run(word: str) -> str:
        argv = [*environment.command, "-c", program, str(llama), word]
        return subprocess.run(argv, env=variables, check=False, capture_output=True, text=True).stderr

    assert "RemoteCodeRefused" in run("forbid")
    assert not mark.exists()
    run("allow")  # the attack itself works
    assert mark.exists()
