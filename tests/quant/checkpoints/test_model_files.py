"""Only a model's own data is read: exact names, regular files, no link that leads out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quant.checkpoints.model_files import MODEL_FILES, STORED_FILES, check_no_code, regular_files, stage
from quant.checkpoints.safetensors import CheckpointError
from quant.tools.tokenizer import copy_tokenizer
from tests.support.planted_code import foreign, plant_code

NAMES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def test_a_tool_sees_data_alone(tiny_model: Path, tmp_path: Path) -> None:
    plant_code(tiny_model)
    staged = stage(tiny_model, tmp_path / "place")
    assert sorted(file.name for file in staged.iterdir()) == NAMES
    assert staged.name == tiny_model.name  # llama.cpp's converter names the model after its folder
    assert [file.name for file in staged.iterdir() if file.is_symlink()] == ["model.safetensors"]
    assert staged == stage(tiny_model, tmp_path / "place")  # again, after a crash


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"temperature": 0.6, "top_p": 0.9, "eos_token_id": 2}, {"eos_token_id": 2}),  # Llama 2's
        ({"do_sample": False, "top_k": 5, "min_p": 0.1}, {"do_sample": False}),
        ({"do_sample": True, "temperature": 0.6}, {"do_sample": True, "temperature": 0.6}),
    ],
)
def test_settings_of_sampling_without_sampling_are_left_out(
    tiny_model: Path, tmp_path: Path, settings: dict[str, float], expected: dict[str, float]
) -> None:
    """Transformers saves no model that has them."""
    (tiny_model / "generation_config.json").write_text(json.dumps(settings))
    staged = stage(tiny_model, tmp_path / "place")
    assert json.loads((staged / "generation_config.json").read_text()) == expected
    assert json.loads((tiny_model / "generation_config.json").read_text()) == settings


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "3", "{"])
def test_settings_of_generation_that_nobody_can_read_are_said(tiny_model: Path, tmp_path: Path, content: str) -> None:
    (tiny_model / "generation_config.json").write_text(content)
    with pytest.raises(
        CheckpointError, match=r"generation_config\.json: cannot be read .*\. Correct it, or delete it$"
    ):
        stage(tiny_model, tmp_path / "place")


@pytest.mark.parametrize(
    "given",
    [
        {"attn_implementation": "evil/kernel"},
        {"_attn_implementation": {"text_config": "evil/kernel@v1"}},
        {"text_config": {"attn_implementation": "evil/kernel:f"}},
        {"experts_implementation": "evil/kernel"},
    ],
)
def test_kernels_of_somebody_s_repository_are_refused(
    tiny_model: Path, tmp_path: Path, given: dict[str, object]
) -> None:
    """Transformers would fetch and run them, whatever `trust_remote_code` says."""
    config = tiny_model / "config.json"
    known = json.loads(config.read_text())
    config.write_text(json.dumps({**known, "attn_implementation": "eager", "_name_or_path": "owner/name"}))
    stage(tiny_model, tmp_path / "place")
    config.write_text(json.dumps({**known, **given}))
    with pytest.raises(CheckpointError, match=r"config\.json asks for code of the repository evil/kernel"):
        stage(tiny_model, tmp_path / "place")


def test_a_tokenizers_copy_is_the_tokenizer_alone(tiny_model: Path, tmp_path: Path) -> None:
    plant_code(tiny_model)
    out = tmp_path / "out"
    out.mkdir()
    copy_tokenizer(tiny_model, out)
    assert sorted(file.name for file in out.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]


def test_a_link_out_of_the_folder_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    plant_code(tiny_model)
    (tiny_model / "vocab.json").symlink_to(tmp_path / "id_ed25519")
    with pytest.raises(CheckpointError, match=r"vocab\.json is a link to .*id_ed25519, outside of the folder"):
        stage(tiny_model, tmp_path / "place")
    with pytest.raises(CheckpointError, match="outside of the folder"):
        copy_tokenizer(tiny_model, tmp_path)


def test_a_link_within_the_folder_is_followed(tiny_model: Path, tmp_path: Path) -> None:
    (tiny_model / "vocab.txt").symlink_to("tokenizer.json")
    assert (stage(tiny_model, tmp_path / "place") / "vocab.txt").read_text().startswith("{")


@pytest.mark.parametrize("shared", [False, True])
def test_a_snapshot_of_the_hubs_cache_is_links_into_its_blobs(tiny_model: Path, tmp_path: Path, shared: bool) -> None:
    repository = tmp_path / "hub" / "models--somebody--tiny"
    snapshot, blobs = repository / "snapshots" / "0a1b", repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, name in enumerate(NAMES):
        blob = (tmp_path / "hub" / "blobs" / "0a" / str(number)) if shared else blobs / str(number)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes((tiny_model / name).read_bytes())
        if shared:
            (blobs / str(number)).symlink_to(blob)
        (snapshot / name).symlink_to(f"../../blobs/{number}")
    assert [file.name for file in regular_files(snapshot, MODEL_FILES)] == NAMES
    staged = stage(snapshot, tmp_path / "place")
    assert (staged / "tokenizer.json").read_bytes() == (tiny_model / "tokenizer.json").read_bytes()
    (snapshot / "vocab.json").symlink_to(tmp_path / "tiny" / "config.json")
    with pytest.raises(CheckpointError, match="outside of the folder"):
        stage(snapshot, tmp_path / "place")


def test_what_is_no_file_is_refused(tiny_model: Path) -> None:
    (tiny_model / "vocab.json").mkdir()
    with pytest.raises(CheckpointError, match=r"vocab\.json is not a regular file"):
        regular_files(tiny_model, MODEL_FILES)


@pytest.mark.parametrize("shard", ["../elsewhere/model.safetensors", "/etc/passwd", "pytorch_model.bin"])
def test_an_index_names_files_beside_it(tiny_model: Path, shard: str) -> None:
    file = tiny_model / "model.safetensors.index.json"
    file.write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    assert file in regular_files(tiny_model, MODEL_FILES)
    file.write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match=r"names the shard .*, which is not a safetensors file next to it"):
        regular_files(tiny_model, MODEL_FILES)
    file.write_text("[]")
    with pytest.raises(CheckpointError, match="is not an index of safetensors"):
        regular_files(tiny_model, MODEL_FILES)


def test_a_stored_checkpoint_is_seen_without_its_code(tiny_model: Path, tmp_path: Path) -> None:
    plant_code(tiny_model)
    (tiny_model / "quantize_config.json").write_text("{}")
    (tiny_model / "openvino_model.py").write_text("raise SystemExit")
    (tiny_model / "pytorch_model.bin").write_bytes(b"pickle")
    staged = stage(tiny_model, tmp_path / "place", STORED_FILES)
    assert sorted(file.name for file in staged.iterdir()) == [
        "config.json",
        "model.safetensors",
        "quantize_config.json",
    ]
    assert not foreign(staged)


def test_a_checkpoint_with_code_or_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "openvino_model.bin").touch()
    check_no_code(tmp_path)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "modeling.py").touch()
    with pytest.raises(CheckpointError, match=r"modeling\.py: a checkpoint holds no code and no pickles"):
        check_no_code(tmp_path)
    (tmp_path / "more" / "modeling.py").unlink()
    (tmp_path / "key").symlink_to(tmp_path / "openvino_model.bin")
    with pytest.raises(CheckpointError, match="key: a checkpoint holds no links"):
        check_no_code(tmp_path)


def test_a_tokenizer_names_no_file_elsewhere(tiny_model: Path, tmp_path: Path) -> None:
    """Transformers would read it as its vocabulary, and copy it into what it saves."""
    secret = tmp_path / "id_rsa"
    secret.write_text("a private key")
    config = tiny_model / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    named = {"vocab_file": str(secret), "merges_file": "../id_rsa", "source_spm": str(secret)}
    config.write_text(json.dumps({**settings, **named, "tokenizer_file": "tokenizer.json"}))
    staged = stage(tiny_model, tmp_path / "staged")
    assert json.loads((staged / "tokenizer_config.json").read_text()) == {
        **settings,
        "tokenizer_file": "tokenizer.json",
    }
    assert json.loads(config.read_text())["vocab_file"] == str(secret)
