"""Pictures of the docs: small, all there, and they fetch nothing."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from scripts.docs_site import pictures
from tests.support.made_runs import write_run
from tests.support.made_trials import trial


def test_all_pictures_are_there_and_small() -> None:
    for file in [*(shot.file for shot in pictures.SHOTS), pictures.PICTURES / "terminal.svg"]:
        assert file.stat().st_size <= pictures.MOST_BYTES, file.name


def test_a_terminal_fetches_nothing(tmp_path: Path) -> None:
    drawn = pictures.terminal(write_run(tmp_path / "run", trial("none", 10, 2.0, 80)))
    assert "Recommended" in drawn
    assert {*re.findall(r"https?://[^\s\"')]+", drawn)} == {"http://www.w3.org/2000/svg", "https://www.textualize.io"}
    assert "url(http" not in drawn
    assert "@font-face" not in drawn


def test_a_picture_has_few_colours_and_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(content, "PNG")
    assert Image.open(io.BytesIO(pictures.small(content.getvalue(), "x.png"))).mode == "P"
    monkeypatch.setattr(pictures, "MOST_BYTES", 10)
    with pytest.raises(SystemExit, match=r"^x\.png: \d+ bytes \(at most 10\)\. Show less on it$"):
        pictures.small(content.getvalue(), "x.png")


def test_without_chromium_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SystemExit, match="no Chromium on this machine: apt-get install chromium"), pictures._chromium():
        pass
