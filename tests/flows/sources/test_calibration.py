from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flows.sources.calibration import calibration_text, read_calibration, write_calibration
from flows.sources.samples import SourceError
from quant.types import CalibrationSpec
from tests.support.checkpoints import add_bos


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_bytes("naïve".encode())
    (tmp_path / "marked.txt").write_bytes("\ufeffnaïve".encode())
    assert calibration_text("marked.txt", tmp_path) == calibration_text("plain.txt", tmp_path)


def test_rows_begin_with_what_the_tokenizer_puts_before_a_text(tiny_model: Path, tmp_path: Path) -> None:
    spec, rows = CalibrationSpec("text", "", 3, 4, 0), {}
    for name in ("plain", "with BOS"):
        (tmp_path / name).mkdir()
        written = write_calibration(spec, "a b c d e f " * 4, tiny_model, tmp_path / name)
        rows[name] = np.load(written.token_ids)
        add_bos(tiny_model)
    assert rows["plain"].shape == (3, 4)
    assert (rows["plain"] > 1).all()
    assert (rows["with BOS"][:, 0] == 0).all()
    assert (rows["with BOS"][:, 1:] == rows["plain"][:, 1:]).all()


def test_a_text_of_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(SourceError, match=r"calibration text .*old\.txt cannot be read: .*utf-8"):
        read_calibration("old.txt", tmp_path)
    with pytest.raises(SourceError, match="does not exist"):
        read_calibration("none.txt", tmp_path)
