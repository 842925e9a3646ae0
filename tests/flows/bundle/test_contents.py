"""Whatever is wrong with a bundle is one line that names the file, before a file of it is used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import flows.bundle.contents
from flows.bundle.contents import BUNDLE_FILE, BadBundle, check_files, read_contents
from flows.state.progress_display import LogDisplay
from quant.checkpoints.safetensors import hash_file
from tests.support.made_bundles import write_bundle

SILENT = LogDisplay(lambda _: None)
FILES = {"wheels/a.whl": b"a wheel", "files/plan.yaml": b"name: x"}


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    return write_bundle(tmp_path / "bundle", FILES)


def _check(bundle: Path) -> None:
    check_files(bundle, read_contents(bundle), SILENT)


def _change(bundle: Path, **changes: Any) -> None:
    document = json.loads((bundle / BUNDLE_FILE).read_text())
    (bundle / BUNDLE_FILE).write_text(json.dumps({**document, **changes}))


def test_what_is_whole_is_read_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def counted(file: Path) -> str:
        read.append(file.name)
        return hash_file(file)

    monkeypatch.setattr(flows.bundle.contents, "hash_file", counted)
    _check(bundle)
    _check(bundle)
    assert read == ["plan.yaml", "a.whl"]
    os.utime(bundle / "wheels" / "a.whl", ns=(1, 1))
    _check(bundle)
    assert read[2:] == ["a.whl"]


def test_a_damaged_copy_with_the_same_times_is_read_again(bundle: Path) -> None:
    """Files that `tar` joined from parts all have the same time."""
    wheel = bundle / "wheels" / "a.whl"
    os.utime(wheel, ns=(0, 0))
    _check(bundle)
    wheel.unlink()
    wheel.write_bytes(b"A WHEEL")
    os.utime(wheel, ns=(0, 0))
    with pytest.raises(BadBundle, match=r"wheels/a\.whl is damaged"):
        _check(bundle)


def test_a_damaged_file_is_named(bundle: Path) -> None:
    (bundle / "wheels" / "a.whl").write_bytes(b"A WHEEL")
    with pytest.raises(
        BadBundle, match=r"bundle/wheels/a\.whl is damaged: its SHA-256 is not .* Make or copy the bundle"
    ):
        _check(bundle)


def test_a_file_of_another_size_is_named(bundle: Path) -> None:
    (bundle / "wheels" / "a.whl").write_bytes(b"a")
    with pytest.raises(BadBundle, match=r"wheels/a\.whl is damaged: it has 1 bytes, of 7\. Make or copy"):
        _check(bundle)


def test_a_file_that_is_gone_is_named(bundle: Path) -> None:
    (bundle / "wheels" / "a.whl").unlink()
    with pytest.raises(BadBundle, match=r"wheels/a\.whl: is not there \(FileNotFoundError"):
        _check(bundle)


def test_a_file_that_nobody_listed_is_refused(bundle: Path) -> None:
    (bundle / "wheels" / "torch-2.13.0-py3-none-any.whl").write_bytes(b"theirs")
    with pytest.raises(
        BadBundle, match=r"wheels/torch-2\.13\.0-py3-none-any\.whl is not listed in bundle\.json\. Delete it"
    ):
        _check(bundle)


@pytest.mark.parametrize("name", ["wheels/a.whl", "beside"])
def test_links_are_refused(bundle: Path, name: str) -> None:
    (bundle / name).unlink(missing_ok=True)
    (bundle / name).symlink_to("/etc/hostname")
    with pytest.raises(BadBundle, match=rf"{name} is a link, a pipe or a device: a bundle holds files alone"):
        _check(bundle)


def test_a_folder_that_is_a_link_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "files").rename(tmp_path / "elsewhere")
    (bundle / "files").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadBundle, match="files is a link, a pipe or a device"):
        _check(bundle)


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a/../../b", "a//b", "", "a\\b", "./a"])
def test_names_that_lead_out_of_the_folder_are_refused(bundle: Path, path: str) -> None:
    _change(bundle, files=[{"path": path, "bytes": 1, "sha256": "0" * 64}])
    with pytest.raises(BadBundle, match=r"bundle\.json: `files\.0\.path` is .* it leads out of the folder\. Make or"):
        read_contents(bundle)
    _change(bundle, files=[], base=path)
    with pytest.raises(BadBundle, match=r"`base` is .* it leads out of the folder"):
        read_contents(bundle)


def test_what_is_no_bundle_is_said(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with pytest.raises(BadBundle, match=r"cache has no bundle\.json\. Give the folder that `bitfrontier bundle` made"):
        read_contents(tmp_path / "cache")
    with pytest.raises(BadBundle, match=r"none is no folder\. Give the folder"):
        read_contents(tmp_path / "none")
    (bundle / BUNDLE_FILE).write_text("{")
    with pytest.raises(BadBundle, match=r"bundle\.json: it is damaged \(JSONDecodeError"):
        read_contents(bundle)


def test_a_newer_format_is_said(bundle: Path) -> None:
    _change(bundle, format=2, version="9.0")
    with pytest.raises(BadBundle, match=r"bundle\.json: format 2 of bitfrontier 9\.0; this program reads 1"):
        read_contents(bundle)


def test_a_platform_that_is_none_is_said(bundle: Path) -> None:
    _change(bundle, platform="win_amd64")
    with pytest.raises(BadBundle, match=r"platform 'win_amd64' is no manylinux tag\. Write manylinux_2_28_x86_64 or"):
        read_contents(bundle)
