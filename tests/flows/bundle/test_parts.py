"""A bundle in parts is joined by what every machine has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import flows.bundle.parts
from flows.bundle.contents import BadBundle, check_files, read_contents
from flows.bundle.parts import SUMS, how_to_join, size_of, split
from flows.state.progress_display import LogDisplay
from tests.support.made_bundles import write_bundle

SILENT = LogDisplay(lambda _: None)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    return write_bundle(tmp_path / "mine", {"wheels/a.whl": bytes(range(256)) * 400, "files/plan.yaml": b"name: x"})


def test_parts_are_joined_by_cat_and_tar(bundle: Path) -> None:
    place = split(bundle, read_contents(bundle), 30_000, SILENT)
    assert place.name == "mine.parts"
    names = sorted(file.name for file in place.iterdir())
    assert names == [SUMS, "mine.tar.000", "mine.tar.001", "mine.tar.002", "mine.tar.003"]
    assert {(place / name).stat().st_size for name in names[1:-1]} == {30_000}
    for line in how_to_join(bundle):
        subprocess.run(line, shell=True, cwd=place, check=True, capture_output=True)
    check_files(place / "mine", read_contents(place / "mine"), SILENT)


def test_a_name_that_a_shell_would_read_is_joined_too(bundle: Path) -> None:
    bundle = bundle.rename(bundle.with_name("my [1] bundle"))
    split(bundle, read_contents(bundle), 30_000, SILENT)
    place = split(bundle, read_contents(bundle), 60_000, SILENT)
    assert len(list(place.iterdir())) == 3  # none of the smaller parts is left
    for line in how_to_join(bundle):
        subprocess.run(line, shell=True, cwd=place, check=True, capture_output=True)
    check_files(place / bundle.name, read_contents(place / bundle.name), SILENT)


def test_a_damaged_part_is_named_before_it_is_joined(bundle: Path) -> None:
    place = split(bundle, read_contents(bundle), 30_000, SILENT)
    (place / "mine.tar.001").write_bytes(bytes(30_000))
    done = subprocess.run(how_to_join(bundle)[0], shell=True, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "mine.tar.001: FAILED" in done.stdout


def test_equal_bundles_give_equal_parts(bundle: Path) -> None:
    first = split(bundle, read_contents(bundle), 30_000, SILENT)
    sums = (first / SUMS).read_text()
    (bundle / "files" / "plan.yaml").touch()
    assert (split(bundle, read_contents(bundle), 30_000, SILENT) / SUMS).read_text() == sums
    assert (split(bundle, read_contents(bundle), 10_000_000, SILENT) / SUMS).read_text() != sums
    assert sorted(file.name for file in first.iterdir()) == [SUMS, "mine.tar.000"]


def test_a_part_that_is_cut_off_is_no_file(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = read_contents(bundle)
    (bundle / "wheels" / "a.whl").unlink()
    with pytest.raises(FileNotFoundError):
        split(bundle, contents, 30_000, SILENT)
    assert list((bundle.parent / "mine.parts").iterdir()) == []


@pytest.mark.parametrize(("text", "size"), [("2GB", 2_000_000_000), ("700m", 700_000_000), ("1.5 G", 1_500_000_000)])
def test_sizes(text: str, size: int) -> None:
    assert size_of(text) == size


@pytest.mark.parametrize("text", ["2XB", "", "-1GB", "1kB", "999999"])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(BadBundle, match=r"--split .*: it is no size of at least 1MB\. Write it as 2GB or 700MB"):
        size_of(text)


def test_too_many_parts_are_refused(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.bundle.parts, "MOST_PARTS", 3)
    with pytest.raises(BadBundle, match=r"are over 3 parts\. Give --split at least 1MB"):
        split(bundle, read_contents(bundle), 30_000, SILENT)
