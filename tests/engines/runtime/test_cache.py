from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines.runtime.cache import NotWritable, cache_folder, create_cache, is_marked, require_writable, uv_variables


def test_a_relative_cache_is_the_same_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITFRONTIER_CACHE", "cache")
    assert cache_folder() == tmp_path / "cache"
    assert create_cache() == tmp_path / "cache"
    assert is_marked()


def test_a_cache_in_the_home_is_there_where_no_shell_put_the_home_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BITFRONTIER_CACHE", "~/cache")
    assert cache_folder() == tmp_path / "cache"


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(NotWritable, match=r"file/cache cannot be written: Not a directory\. Set BITFRONTIER_CACHE"):
        create_cache()


def test_a_folder_that_is_there_and_takes_no_files_is_refused() -> None:
    with pytest.raises(NotWritable, match=r"/proc cannot be written: .*\. Name another\."):
        require_writable(Path("/proc"), "Name another")


def test_uv_keeps_its_files_in_ours_where_the_home_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / ".cache"))
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    assert uv_variables() == {}
    monkeypatch.setattr(os, "access", lambda folder, mode: mode == os.F_OK)
    assert uv_variables() == {"UV_CACHE_DIR": str(tmp_path / "cache" / "uv")}
    monkeypatch.setenv("UV_CACHE_DIR", "mine")
    assert uv_variables() == {}
