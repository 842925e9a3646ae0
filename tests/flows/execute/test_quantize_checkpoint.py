"""Which finished checkpoint is taken for a job's."""

from __future__ import annotations

import errno
from dataclasses import asdict
from pathlib import Path

import pytest

from engines.runtime.environments import resolve
from flows.execute.quantize_checkpoint import Job, finished, make_job
from flows.sources.models import Model
from flows.validate.matrix import Quantization
from quant.canonical_json import write_json
from quant.checkpoints.safetensors import CheckpointError
from quant.registry import methods
from quant.types import CHECKPOINT_RECORD, Checkpoint
from tests.support.checkpoints import write_safetensors

LAYER = "model.layers.0.mlp.up_proj"
PACKED = {f"{LAYER}.weight_packed": ("I32", (64, 8), 2048), f"{LAYER}.weight_scale": ("F16", (64, 1), 128)}
FLOATS = {f"{LAYER}.weight": ("F16", (64, 64), 8192), f"{LAYER}.weight_scale": ("F16", (64, 1), 128)}


def _job(source: Path) -> Job:
    method = methods()["rtn"]
    parameters = {"scheme": "W4A16", "group_size": 0, "symmetric": True}
    scheme, written = method.scheme(parameters), method.format(parameters)
    quantization = Quantization(0, method, "rtn W4A16", parameters, scheme, written, None)
    model = Model("m", source, "content", {}, "")
    return make_job(model, quantization, resolve("llmcompressor"), text="", base=source, threads=1)


@pytest.mark.parametrize(("tensors", "taken"), [(PACKED, True), (FLOATS, False)])
def test_a_finished_checkpoint_that_is_not_what_its_label_says_is_made_again(
    workplace: Path, tensors: dict[str, tuple[str, tuple[int, ...], int]], taken: bool
) -> None:
    source = workplace / "source"
    source.mkdir()
    norms = {"model.other.weight": ("F16", (64, 64), 8192)}
    write_safetensors(source / "model.safetensors", {f"{LAYER}.weight": ("F16", (64, 64), 8192), **norms})
    job = _job(source)
    job.folder.mkdir(parents=True)
    weights = job.folder / "model.safetensors"
    write_safetensors(weights, tensors)
    size = weights.stat().st_size
    checkpoint = Checkpoint(
        job.key, "m", job.spec, str(job.folder), size, 8.5, 4.25, {}, 0, "", {weights.name: ""}, {}, ()
    )
    write_json(job.folder / CHECKPOINT_RECORD, asdict(checkpoint))
    assert (finished(job) is not None) is taken


def test_a_checkpoint_that_cannot_be_read_now_is_not_made_again(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(workplace)
    job.folder.mkdir(parents=True)
    (job.folder / CHECKPOINT_RECORD).write_text("{}")

    def refused(folder: Path) -> Checkpoint:
        raise OSError(errno.ESTALE, "Stale file handle", str(folder))

    monkeypatch.setattr("flows.execute.quantize_checkpoint.read_checkpoint", refused)
    with pytest.raises(CheckpointError, match="Stale file handle"):
        finished(job)


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "{}", '{"spec": 3}'])
def test_a_damaged_record_of_a_checkpoint_is_made_again(
    workplace: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = _job(workplace)
    job.folder.mkdir(parents=True)
    (job.folder / CHECKPOINT_RECORD).write_text(content)
    assert finished(job) is None
    assert f"made again: {job.folder / CHECKPOINT_RECORD}: it is damaged" in caplog.text
