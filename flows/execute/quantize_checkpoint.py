"""One quantization: a job file, a child process in the method's environment, and a checkpoint that was looked at."""

from __future__ import annotations

import inspect
import json
import logging
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock

from engines.runtime.cache import cache_folder
from engines.runtime.entry_points import QUANT_WORKER
from engines.runtime.environments import Environment, asked_for
from engines.runtime.own_packages import import_folder
from engines.runtime.process import ProcessFailed, running, wait
from flows import versions
from flows.plan.base import Threads, thread_count
from flows.sources.calibration import calibration_text, write_calibration
from flows.sources.checkpoints import contents
from flows.sources.models import Model
from flows.validate.matrix import Quantization
from quant.canonical_json import READ_LATER, plain, write_json
from quant.checkpoints.detect import check_declared
from quant.checkpoints.inspect import WEIGHT_FILES, decode_bytes, inspect_weights
from quant.checkpoints.model_files import check_no_code
from quant.checkpoints.safetensors import MAKE_AGAIN, CheckpointError, hash_files
from quant.checkpoints.verify import check_made
from quant.errors import FailureKind, reading
from quant.hashing import digest
from quant.types import (
    CHECKPOINT_RECORD,
    PARTIAL_RECORD,
    Calibration,
    CalibrationSpec,
    Checkpoint,
    QuantSpec,
    read_checkpoint,
)

logger = logging.getLogger(__name__)

OnProgress = Callable[[str, float, float], None]


@dataclass(frozen=True)
class Job:
    """A quantization of one model, ready to run. `inputs` decide its result, whose name is their digest, `key`."""

    model: Model
    quantization: Quantization
    environment: Environment
    threads: int
    calibration: CalibrationSpec | None
    calibration_text: str
    inputs: Mapping[str, str]

    @cached_property
    def key(self) -> str:
        return digest(self.inputs)

    @property
    def folder(self) -> Path:
        return cache_folder() / "checkpoints" / self.key[:32]

    @property
    def log(self) -> Path:
        """Where its worker writes while it runs; beside the weights when they are complete."""
        return self.folder.with_suffix(".partial") / "worker.log"

    @property
    def spec(self) -> QuantSpec:
        quantization = self.quantization
        return QuantSpec(
            quantization.method.name,
            quantization.parameters,
            quantization.scheme,
            quantization.format,
            self.calibration,
        )


def make_job(
    model: Model, quantization: Quantization, environment: Environment, *, text: str, base: Path, threads: Threads
) -> Job:
    """Everything that decides the result goes into the key: model, parameters, calibration, tools, versions.

    The machine does not, nor the threads that it has: what it made is known by its contents, and takes minutes to hours
    to make. `threads` that the plan gives do.
    """
    calibration, content, drawn = None, "", "none"
    if quantization.calibration is not None:
        samples, length, seed = quantization.calibration
        content, sha256 = calibration_text(text, base)
        calibration = CalibrationSpec(text, sha256, samples, length, seed)
        drawn = f"{samples} × {length} tokens, seed {seed}, of {sha256[:16]}"
    given = {**quantization.parameters, **contents(quantization.stored)}
    inputs = {
        "model": model.content_sha256,
        "method": quantization.method.name,
        f"version of {quantization.method.name}": str(quantization.method.version),
        "CALIBRATION_VERSION": str(versions.CALIBRATION_VERSION),
        "calibration": drawn,
        "environment of the method": environment.identity,
        **({} if threads == "auto" else {"threads of the method": str(threads)}),
        **{f"parameter {name}": json.dumps(value, default=plain, sort_keys=True) for name, value in given.items()},
    }
    return Job(model, quantization, environment, thread_count(threads), calibration, content, inputs)


def finished(job: Job) -> Checkpoint | None:
    """The checkpoint of this key if it was finished, its files are whole and its layers what its label says; one that
    is not is made again. Raises CheckpointError where it cannot be read now.
    """
    if not (job.folder / CHECKPOINT_RECORD).exists():
        return None
    try:
        with reading(job.folder / CHECKPOINT_RECORD, CheckpointError, MAKE_AGAIN, "it is damaged"):
            checkpoint = read_checkpoint(job.folder)
        check_whole(checkpoint)
        check_made(checkpoint.spec.format, checkpoint.spec.scheme, job.model.folder, job.folder, checkpoint)
    except CheckpointError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in READ_LATER:
            raise  # made again, it would be lost
        logger.warning("made again: %s", error)
        return None
    return checkpoint


def check_whole(checkpoint: Checkpoint) -> None:
    """Raises CheckpointError where a file of a finished checkpoint is gone, cut off or has lost its header.

    Sizes and headers alone: to hash a large model before every cell would take minutes.
    """
    folder = Path(checkpoint.folder)
    for name in checkpoint.files:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name}: was written and is missing")
    size = _weight_bytes(folder)
    if size != checkpoint.bytes:
        raise CheckpointError(f"{folder}: its weights have {size} bytes where {checkpoint.bytes} were written")
    decode_bytes(checkpoint.spec.format, folder)


def quantize(job: Job, on_progress: OnProgress = lambda *_: None, limit_seconds: float = math.inf) -> Checkpoint:
    """Run the job unless its checkpoint is there. Raises ProcessFailed or CheckpointError with the reason."""
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(job.folder.with_suffix(".lock")):
        done = finished(job)
        if done is not None:
            return done
        logger.info("quantizing %s by %s: %s", job.model.name, job.quantization.label, job.folder)
        partial = job.folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "weights").mkdir(parents=True)
        write_json(partial / PARTIAL_RECORD, {"key": job.key})
        result = _run(job, partial, on_progress, limit_seconds)
        checkpoint = _inspect(job, partial / "weights", result)
        write_json(partial / "weights" / CHECKPOINT_RECORD, checkpoint)
        shutil.copy(partial / "worker.log", partial / "weights" / "worker.log")
        shutil.rmtree(job.folder, ignore_errors=True)
        (partial / "weights").replace(job.folder)
        shutil.rmtree(partial)
    return read_checkpoint(job.folder)


def _run(job: Job, partial: Path, on_progress: OnProgress, limit_seconds: float) -> dict[str, Any]:
    job_file, log = partial / "job.json", job.log
    write_json(job_file, _describe(job, partial))
    variables = {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": str(import_folder()),
        "OMP_NUM_THREADS": str(job.threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    with running(job.environment.argv(["-m", QUANT_WORKER, str(job_file)], variables), variables, log) as child:
        try:
            code = wait(child, on_progress, limit_seconds)
        except TimeoutError as late:
            message = f"the worker {late} (`time_limits: quantize_seconds`)"
            raise ProcessFailed(message, _keep_log(log, job), kind="timeout") from late
    result_file = partial / "result.json"
    result: dict[str, Any] = json.loads(result_file.read_text(encoding="utf-8")) if result_file.exists() else {}
    if result.get("status") == "failed":
        kind: FailureKind = result["kind"] or "method-failed"
        raise ProcessFailed(result["reason"], _keep_log(log, job), kind=kind, explains=not result["log_explains"])
    if code != 0 or not result:
        raise ProcessFailed(
            f"the worker ended with {child.ending}", _keep_log(log, job), kind=child.loss("method-failed")
        )
    return result


def _keep_log(log: Path, job: Job) -> Path:
    log_file = cache_folder() / "logs" / f"quantize-{job.key[:16]}.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(log, log_file)
    return log_file


def _describe(job: Job, partial: Path) -> dict[str, Any]:
    quantization = job.quantization
    calibration: Calibration | None = None
    if job.calibration is not None:
        calibration = write_calibration(job.calibration, job.calibration_text, job.model.folder, partial)
    return {
        "model": str(job.model.folder),
        "out": str(partial / "weights"),
        "method": quantization.method.name,
        "module": quantization.method.function.__module__,
        "file": quantization.method.file,
        "parameters": {
            **quantization.parameters,
            **{name: str(stored.folder) for name, stored in quantization.stored.items()},
        },
        "takes_calibration": "calibration" in inspect.signature(quantization.method.function).parameters,
        "calibration": asdict(calibration) if calibration else None,
        "threads": job.threads,
        "seed": job.calibration.seed if job.calibration else 0,
        "versions_of": asked_for(job.environment),
    }


def _inspect(job: Job, weights: Path, result: dict[str, Any]) -> Checkpoint:
    """Read what was really written: its own configuration, headers, sizes, types, hashes."""
    check_no_code(weights)
    contents = inspect_weights(job.quantization.format, job.model.folder, weights)
    check_declared(weights, job.quantization.format, job.quantization.scheme)
    check_made(job.quantization.format, job.quantization.scheme, job.model.folder, weights, contents)
    files = hash_files(weights)
    return Checkpoint(
        key=job.key,
        model=job.model.name,
        spec=job.spec,
        folder=str(job.folder),
        bytes=_weight_bytes(weights),
        bits_per_weight=contents.bits_per_weight,
        linear_bits_per_weight=contents.linear_bits_per_weight,
        seconds=result["seconds"],
        peak_memory_bytes=result["peak_memory_bytes"],
        content_sha256=digest({name: value for name, value in files.items() if name.endswith(WEIGHT_FILES)}),
        files=files,
        versions=result["versions"],
        warnings=tuple(result["warnings"]),
        tensor_types=contents.tensor_types,
    )


def _weight_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.suffix in WEIGHT_FILES)
