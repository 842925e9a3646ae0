"""A model with code in its folder, through the whole of a quantization: none of it runs or comes along."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli.quantize_command import quantize_one
from flows.sources import hub
from flows.sources.checkpoints import find_stored
from flows.sources.model_facts import look_up_model
from flows.sources.samples import SourceError
from flows.state.progress_display import LogDisplay
from quant.checkpoints.model_files import MODEL_FILES
from quant.checkpoints.safetensors import CheckpointError
from tests.support.fake_sweep import install, write_plan
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
