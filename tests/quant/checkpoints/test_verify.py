from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from quant.checkpoints.inspect import inspect_weights
from quant.checkpoints.safetensors import CheckpointError
from quant.checkpoints.verify import check_made
from quant.types import Scheme
from tests.support.checkpoints import write_safetensors

Entries = Mapping[str, tuple[str, tuple[int, ...], int]]
LAYER = "model.layers.0.mlp.up_proj"
SOURCE: Entries = {f"{LAYER}.weight": ("F16", (64, 64), 8192), "model.norm.weight": ("F16", (64,), 128)}
W4A16 = Scheme("int4", group_size=64)
W8A8 = Scheme("int8", "int8")


def _packed(groups: int = 1) -> Entries:
    return {
        f"{LAYER}.weight_packed": ("I32", (64, 8), 2048),
        f"{LAYER}.weight_scale": ("F16", (64, groups), 128 * groups),
        "model.norm.weight": ("F16", (64,), 128),
    }


def _codes(dtype: str, size: int) -> Entries:
    return {f"{LAYER}.weight": (dtype, (64, 64), size), f"{LAYER}.weight_scale": ("F16", (64, 1), 128)}


def _check(tmp_path: Path, made: Entries, scheme: Scheme, checkpoint_format: str = "compressed-tensors") -> None:
    for name, entries in {"source": SOURCE, "made": made}.items():
        (tmp_path / name).mkdir()
        write_safetensors(tmp_path / name / "model.safetensors", dict(entries))
    contents = inspect_weights(checkpoint_format, tmp_path / "source", tmp_path / "made")
    check_made(checkpoint_format, scheme, tmp_path / "source", tmp_path / "made", contents)


@pytest.mark.parametrize(
    ("made", "scheme", "checkpoint_format"),
    [
        (_packed(), W4A16, "compressed-tensors"),
        (_packed(8), Scheme("int4", group_size=8), "compressed-tensors"),  # 6 bits: the scales of small groups
        (_codes("I8", 4096), W8A8, "compressed-tensors"),
        (_codes("F8_E4M3", 4096), Scheme("fp8", "fp8"), "compressed-tensors"),
        (_codes("I8", 4096), Scheme("int4", group_size=64), "torchao"),  # which keeps a byte of each, and says so
        (_codes("I8", 4096), Scheme("mixed"), "compressed-tensors"),
        (SOURCE, Scheme("float16"), "safetensors"),
        (SOURCE, W8A8, "somebody's own"),
    ],
)
def test_what_its_label_says_is_well(tmp_path: Path, made: Entries, scheme: Scheme, checkpoint_format: str) -> None:
    _check(tmp_path, made, scheme, checkpoint_format)


def test_layers_with_scales_and_floats_are_not_quantized(tmp_path: Path) -> None:
    """Falcon's: a class of layers that the tool scaled, and did not pack; beside it others that are."""
    other = "model.layers.0.mlp.down_proj"
    made = {**_codes("F16", 8192), **{name.replace(LAYER, other): entry for name, entry in _packed().items()}}
    del made["model.norm.weight"]
    source = {**SOURCE, f"{other}.weight": ("F16", (64, 640), 81920)}
    for name, entries in {"source": source, "made": made}.items():
        (tmp_path / name).mkdir()
        write_safetensors(tmp_path / name / "model.safetensors", dict(entries))
    contents = inspect_weights("compressed-tensors", tmp_path / "source", tmp_path / "made")
    with pytest.raises(
        CheckpointError, match=r"1 of 2 layers have scales and are still stored as floats.*up_proj \(F16\)"
    ):
        check_made("compressed-tensors", W4A16, tmp_path / "source", tmp_path / "made", contents)


def test_a_checkpoint_is_smaller_than_its_source(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has 16\.25 bits per weight, not fewer than its source \(16\.00\)"):
        _check(tmp_path, {**SOURCE, **_codes("F16", 8192)}, W8A8)


@pytest.mark.parametrize(
    ("made", "scheme", "words"),
    [
        (_codes("I8", 4096), W4A16, r"8\.25 bits per weight, and W4A16-g64 has 4 to 5\.5"),
        (_packed(), W8A8, r"4\.25 bits per weight, and W8A8-int8 has 8 to 9\.5"),
        (_packed(8), W4A16, r"6\.00 bits per weight, and W4A16-g64 has 4 to 5\.5"),
    ],
)
def test_linear_bits_are_those_of_the_scheme(tmp_path: Path, made: Entries, scheme: Scheme, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        _check(tmp_path, made, scheme)


def test_a_scheme_without_a_quantized_layer_is_refused(tmp_path: Path) -> None:
    made: Entries = {f"{LAYER}.weight": ("F16", (64, 64), 8192)}  # only smaller, for a norm is gone
    with pytest.raises(CheckpointError, match="no linear layer is quantized, and the method says W8A8-int8"):
        _check(tmp_path, {**made, "model.extra.weight": ("U8", (1,), 1)}, W8A8)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("experts.0.w1.weight", (64, 64)),
        ("experts.gate_up_proj", (2, 32, 64)),
        ("block_sparse_moe.input_linear.weight", (2, 64, 32)),
    ],
)
def test_experts_are_quantized_too(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    expert: Entries = {f"model.layers.0.mlp.{name}": ("F16", shape, 8192)}
    source, made = tmp_path / "source", tmp_path / "made"
    for folder, entries in ((source, {**SOURCE, **expert}), (made, {**_packed(), **expert})):
        folder.mkdir()
        write_safetensors(folder / "model.safetensors", dict(entries))
    contents = inspect_weights("compressed-tensors", source, made)
    with pytest.raises(CheckpointError, match=r"1 weights of experts are stored as floats, such as model\.layers"):
        check_made("compressed-tensors", W4A16, source, made, contents)


def test_an_author_may_leave_some_experts_as_they_are(tmp_path: Path) -> None:
    layer = "model.layers.0.mlp.experts.0.w1"
    quantized: Entries = {name.replace(LAYER, layer): entry for name, entry in _packed().items() if LAYER in name}
    plain: Entries = {f"{layer[:-4]}1.w1.weight": ("F16", (64, 64), 8192)}
    source, made = tmp_path / "source", tmp_path / "made"
    for folder, entries in (
        (source, {**SOURCE, **plain, f"{layer}.weight": ("F16", (64, 64), 8192)}),
        (made, {**_packed(), **quantized, **plain}),
    ):
        folder.mkdir()
        write_safetensors(folder / "model.safetensors", dict(entries))
    check_made("compressed-tensors", W4A16, source, made, inspect_weights("compressed-tensors", source, made))
