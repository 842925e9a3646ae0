from __future__ import annotations

from pathlib import Path

import pytest

from flows.sources.calibration import calibration_text, read_calibration
from flows.sources.samples import SourceError


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_bytes("naïve".encode())
    (tmp_path / "marked.txt").write_bytes("\ufeffnaïve".encode())
    assert calibration_text("marked.txt", tmp_path) == calibration_text("plain.txt", tmp_path)


def test_a_text_of_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(SourceError, match=r"calibration text .*old\.txt cannot be read: .*utf-8"):
        read_calibration("old.txt", tmp_path)
    with pytest.raises(SourceError, match="does not exist"):
        read_calibration("none.txt", tmp_path)
