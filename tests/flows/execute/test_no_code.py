"""A model with code in its folder, through the whole of a quantization: none of it runs or comes along."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Client
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import engines.registry
import quant.registry
from flows.cli.quantize_command import quantize_one
from flows.execute import worker_process
from flows.execute.prepare import environments_of, prepare_sweep
from flows.execute.prepared import Prepared
from flows.plan.source import load_plan
from flows.sources import hub
from flows.sources.checkpoints import find_stored
from flows.sources.model_facts import look_up_model
from flows.sources.samples import SourceError
from flows.state.progress_display import LogDisplay
from flows.validate.plan import check
from quant.checkpoints.model_files import MODEL_FILES
from quant.checkpoints.safetensors import CheckpointError
from tests.support.fake_sweep import fake_methods, install, write_plan
from tests.support.planted_code import foreign, plant_code

QUIET = LogDisplay(lambda text: None)


@pytest.fixture
def plan(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(monkeypatch.setattr)
    return write_plan(workplace, ["none"])


def test_no_code_and_no_key_comes_into_a_checkpoint(
    plan: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The method `none` of these tests copies all that it is given. A plan refuses this model; here as if it did not."""
    monkeypatch.setattr("flows.sources.model_facts.unsuitable", lambda *_: None)
    mark = plant_code(workplace / "tiny")
    (made,) = quantize_one(plan, "none float16", None, QUIET)
    assert (Path(made.folder) / "tokenizer.json").exists()
    assert not foreign(workplace / "cache")
    assert not mark.exists()


def test_a_model_and_a_checkpoint_with_a_link_to_elsewhere_are_refused_before_any_work(workplace: Path) -> None:
    plant_code(workplace / "tiny")
    (workplace / "tiny" / "generation_config.json").symlink_to(workplace / "id_ed25519")
    with pytest.raises(SourceError, match=r"generation_config\.json is a link to .*copy or download the model again"):
        look_up_model("tiny", workplace)
    with pytest.raises(SourceError, match="copy or download the checkpoint again"):
        find_stored("tiny", workplace)


def test_the_hub_is_asked_for_no_code(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    import huggingface_hub

    asked: list[str] = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **given: asked.extend(given["allow_patterns"]) or workplace
    )
    hub.fetch(hub.Repository("a/b"), MODEL_FILES)
    assert asked == list(MODEL_FILES)
    from huggingface_hub.utils import filter_repo_objects

    offered = ["config.json", "evil.py", "tokenizer.py", "tokenizer.pkl", "tokenizer.so", "vocab.py", "a.safetensors"]
    assert list(filter_repo_objects(offered, allow_patterns=asked)) == ["config.json", "a.safetensors"]


def test_a_method_that_leaves_code_makes_no_checkpoint(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaves_code(job: object, partial: Path, *_: object) -> dict[str, object]:
        (partial / "weights" / "modeling_evil.py").touch()
        return {}

    monkeypatch.setattr("flows.execute.quantize_checkpoint._run", leaves_code)
    with pytest.raises(CheckpointError, match="a checkpoint holds no code and no pickles"):
        quantize_one(plan, "none float16", None, QUIET)


@pytest.fixture
def prepared(plan: Path, workplace: Path) -> Prepared:
    sweep = check(load_plan(plan))
    return prepare_sweep(sweep, environments_of(sweep), workplace / "runs", QUIET)


def test_it_works_where_nothing_stands_for_data_of_the_hub(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`evaluate.load("code_eval")` runs code_eval/code_eval.py of the working directory, wherever that comes from."""
    seen: list[tuple[str, Path]] = []
    engine = prepared.sweep.cells[0].choice.engine
    monkeypatch.setattr(engines.registry, "engines_by_name", lambda: {engine.name: engine})
    monkeypatch.setattr(quant.registry, "methods", fake_methods)
    monkeypatch.setattr(worker_process, "work", lambda _, made: seen.append((str(Path.cwd()), made.folder)))
    monkeypatch.chdir(tmp_path)
    with tempfile.TemporaryDirectory() as folder:  # a socket's path is short
        monkeypatch.setattr(sys, "argv", ["", f"{folder}/socket"])
        thread = threading.Thread(target=worker_process.main)
        thread.start()
        while not Path(f"{folder}/socket").exists():
            time.sleep(0.01)
        with Client(f"{folder}/socket", family="AF_UNIX") as connection:
            connection.send((prepared.sweep, prepared.folder.parent))
            thread.join()
    assert seen == [("/", prepared.folder)]


def test_it_gets_paths_that_it_finds_from_elsewhere(
    prepared: Prepared, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    sent: list[Any] = []
    monkeypatch.setattr(worker_process, "start", lambda *_, **__: SimpleNamespace())
    monkeypatch.setattr(worker_process, "_connect", lambda *_: SimpleNamespace(send=sent.append))
    file, folder = Path(prepared.sweep.file.name), Path("runs", prepared.folder.name)
    relative = replace(prepared, sweep=replace(prepared.sweep, file=file), folder=folder)
    worker_process.Aside(relative, workplace / "socket")._start()
    ((sweep, runs),) = sent
    assert (sweep.file, runs) == (workplace / file, workplace / "runs")
