"""Which files of a model's folder are read at all: weights as safetensors, configuration, tokenizer; never code.

A model's folder is somebody else's. What lies in it beside these files, and what a link in it points to elsewhere, is
neither read nor copied. Standard library only: every quantizer's environment imports this.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from quant.canonical_json import read_regular
from quant.checkpoints.safetensors import CheckpointError, read_index
from quant.errors import reading

TOKENIZER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tekken.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
WEIGHTS = ("*.safetensors", "*.gguf", "openvino_model.bin")  # under any name: these formats hold no code
INDEX = "*.safetensors.index.json"
MODEL_FILES = ("config.json", *TOKENIZER_FILES, "*.safetensors", INDEX)
STORED_FILES = (
    "config.json",
    "generation_config.json",
    "hf_quant_config.json",
    "quant_config.json",
    "quantize_config.json",
    *WEIGHTS,
    INDEX,
    "openvino_model.xml",
)
CODE = (
    "*.py",
    "*.pyc",
    "*.pyd",
    "*.so",
    "*.so.*",
    "*.dll",
    "*.dylib",
    "*.sh",
    "*.pkl",
    "*.pickle",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.bin",
)
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "typical_p", "top_h", "epsilon_cutoff", "eta_cutoff")
IMPLEMENTATION = re.compile("(attn|experts)_implementation")
OPENVINO = "openvino_*.bin"  # plain numbers, beside a graph in XML


def regular_files(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """The files of `folder` that `patterns` name. Raises CheckpointError for a link that leads out of the folder."""
    named = [file for file in sorted(folder.iterdir()) if _matches(file.name, patterns)]
    for file in named:
        _check_regular(file)
        for shard in sorted(set(read_index(file).values())) if fnmatchcase(file.name, INDEX) else ():
            if Path(shard).name != shard or not shard.endswith(".safetensors"):  # readers open those that it names
                raise CheckpointError(f"{file} names the shard {shard}, which is not a safetensors file next to it")
    return named


def stage(source: Path, place: Path, patterns: Iterable[str] = MODEL_FILES) -> Path:
    """A folder in `place` with what `patterns` name of `source`, under its name: tools write it into what they make.

    Weights are links to the files themselves, the rest copies: whoever follows a link from a small file to its
    neighbours would find the code again. Raises CheckpointError as `regular_files` does.
    """
    files = regular_files(source, patterns)
    if (config := source / "config.json") in files:
        _check_configuration(config)
    shutil.rmtree(place, ignore_errors=True)
    folder = place / source.name
    folder.mkdir(parents=True)
    for file in files:
        if _matches(file.name, WEIGHTS):
            (folder / file.name).symlink_to(file.resolve())
        else:
            shutil.copyfile(file, folder / file.name)
    _rewrite(folder / "generation_config.json", _without_idle_sampling)
    _rewrite(folder / "tokenizer_config.json", _without_places)
    return folder


def _rewrite(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    if not file.exists():
        return
    with reading(file, CheckpointError, "Correct it, or delete it"):
        settings = json.loads(read_regular(file))
        changed = change(settings)
    if changed != settings:
        file.write_text(json.dumps(changed, indent=2) + "\n", encoding="utf-8")


def _check_configuration(file: Path) -> None:
    with reading(file, CheckpointError, "Correct it"):
        _refuse_kernels(file, json.loads(read_regular(file)))


def _refuse_kernels(file: Path, value: object, *, chosen: bool = False) -> None:
    """Raises CheckpointError where a configuration names a repository of the hub (`owner/name`) as an implementation of
    attention or experts: Transformers would run the kernels that lie there, without asking for trust.
    """
    if chosen and isinstance(value, str) and "/" in value:
        raise CheckpointError(
            f"{file} asks for code of the repository {value[:100]}. Name an implementation of Transformers' own there"
        )
    if isinstance(value, dict):
        for name, item in value.items():
            _refuse_kernels(file, item, chosen=chosen or bool(IMPLEMENTATION.search(name)))


def _without_idle_sampling(settings: dict[str, Any]) -> dict[str, Any]:
    """Llama 2's and many older models' settings of sampling without sampling: they change nothing, and Transformers
    saves no model that has them.
    """
    if settings.get("do_sample"):
        return settings
    return {name: value for name, value in settings.items() if name not in SAMPLING}


def _without_places(settings: dict[str, Any]) -> dict[str, Any]:
    """Files of a tokenizer that lie elsewhere: Transformers would read them, and copy them into what it saves. Many
    models name one of the machine on which they were made.
    """
    return {
        name: value
        for name, value in settings.items()
        if not (name.endswith(("_file", "spm")) and isinstance(value, str) and Path(value).name != value)
    }


def check_no_code(folder: Path) -> None:
    """Raises CheckpointError where a tool left code, a pickle or a link in a checkpoint, or somebody's store has it, or
    a configuration that names code: it would be passed on, and served.
    """
    for file in sorted(folder.rglob("*")):
        if file.is_symlink():
            raise CheckpointError(f"{file}: a checkpoint holds no links")
        if _matches(file.name, CODE) and not fnmatchcase(file.name, OPENVINO):
            raise CheckpointError(f"{file}: a checkpoint holds no code and no pickles")
        if file.name == "config.json":
            _check_configuration(file)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_regular(file: Path) -> None:
    with reading(file, CheckpointError, "Put the file itself there"):  # a link to itself
        real = file.resolve()
    if not real.is_file():
        raise CheckpointError(f"{file} is not a regular file; put the file itself there")
    if not any(real.is_relative_to(root) for root in _roots(file.parent)):
        raise CheckpointError(f"{file} is a link to {real}, outside of the folder; put the file itself there")


def _roots(folder: Path) -> Iterator[Path]:
    """The folder, and for a snapshot of the hub's cache where its files really are: the repository's blobs, which
    may be links into those that the whole cache shares."""
    folder = folder.resolve()
    yield folder
    if folder.parent.name == "snapshots" and folder.parents[1].name.startswith("models--"):
        yield folder.parents[1] / "blobs"
        yield folder.parents[2] / "blobs"
