"""Parts on disk: found by their key's own name, also those of older programs."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.schema import migrate
from evals.schema.migrate import FIRST_WITH_PARTS, PART_STEPS, SCHEMA_VERSION, NewerSchema
from evals.schema.part import Part, find_part, joined_speeds, part_file, save_part
from tests.support.made_trials import speed

KEY = "0123456789ab" * 5 + "0000"
PART = Part(KEY, "task arc_easy", {"seed": "0"}, {"started": "2026-11-27T00:00:00Z"}, seconds=2.5, requests=7)


def test_a_part_is_found_without_looking_through_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listings: list[Path] = []
    glob = Path.glob

    def listed(folder: Path, pattern: str) -> Iterator[Path]:
        listings.append(folder)
        return glob(folder, pattern)

    monkeypatch.setattr(Path, "glob", listed)
    save_part(tmp_path, PART)
    assert [find_part(tmp_path, key) for key in (KEY, KEY[::-1], KEY)] == [PART, None, PART]
    assert len(listings) <= 1
    assert [file.name for file in tmp_path.iterdir()] == [part_file(KEY)]


def test_another_part_whose_key_begins_alike_is_not_it(tmp_path: Path) -> None:
    save_part(tmp_path, PART)
    assert find_part(tmp_path, KEY[:40] + "f" * 24) is None


def test_a_part_that_an_older_program_named_by_its_cell_is_found(tmp_path: Path) -> None:
    save_part(tmp_path, PART)
    (tmp_path / part_file(KEY)).rename(tmp_path / f"rtn_W4A16-g32_vllm-{KEY[:12]}.json")
    assert find_part(tmp_path, KEY) == PART


def test_every_older_version_of_a_part_has_a_step() -> None:
    """Without one a raised SCHEMA_VERSION would measure all parts of all runs again."""
    assert set(PART_STEPS) == set(range(FIRST_WITH_PARTS, SCHEMA_VERSION))


def test_a_part_of_an_older_version_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def next_step(raw: dict[str, Any]) -> dict[str, Any]:
        return {**raw, "requests": raw["requests"] + 1, "schema_version": SCHEMA_VERSION + 1}

    save_part(tmp_path, PART)
    monkeypatch.setattr(migrate, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    monkeypatch.setattr(migrate, "PART_STEPS", {SCHEMA_VERSION: next_step})
    part = find_part(tmp_path, KEY)
    assert part is not None
    assert (part.requests, part.schema_version) == (8, SCHEMA_VERSION + 1)


def test_a_part_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    save_part(tmp_path, PART)
    file = tmp_path / part_file(KEY)
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema_version": 99}))
    with pytest.raises(NewerSchema, match=r"\.json: schema version 99 is newer than this program's"):
        find_part(tmp_path, KEY)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"key": "%s", "schema_version": -5}' % KEY.encode(), b"\xff", b"[]"]
)
def test_a_damaged_part_is_warned_of_and_counts_as_missing(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / part_file(KEY)).write_bytes(content)
    assert find_part(tmp_path, KEY) is None
    assert f"{part_file(KEY)} is damaged and counts as missing" in caplog.text
    assert find_part(tmp_path, save_part(tmp_path, PART).key) == PART


def test_what_is_no_file_in_the_place_of_a_part_counts_as_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A pipe would be waited for, and a sparse file fill the memory."""
    os.mkfifo(tmp_path / part_file(KEY))
    assert find_part(tmp_path, KEY) is None
    other = KEY[::-1]
    (tmp_path / part_file(other)).touch()
    os.truncate(tmp_path / part_file(other), 2**40)
    assert find_part(tmp_path, other) is None
    assert [fault in caplog.text for fault in ("not a regular file", "at most")] == [True, True]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_part_that_cannot_be_read_now_is_not_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It is there when the share is back: measured anew, it would be replaced."""
    save_part(tmp_path, PART)

    def refused(path: Path, _: int) -> bytes:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("evals.schema.part.read_regular", refused)
    with pytest.raises(OSError, match=part_file(PART.key)):
        find_part(tmp_path, PART.key)


def test_later_visits_are_joined_to_the_first_by_their_rounds() -> None:
    single, four = speed(10.0, 1), speed(20.0, 4)
    joined = joined_speeds([single, four], {3: [speed(12.0, 1)], 2: [speed(11.0, 1), speed(21.0, 4)]})
    assert [load.rounds for load in joined] == [(1, 1, 2, 2, 3, 3), (1, 1, 2, 2)]
    assert joined[0].of_round(2) == replace(speed(11.0, 1), rounds=())
    assert {number: len(repeats) for number, repeats in joined[0].visits().items()} == {1: 2, 2: 2, 3: 2}
    assert joined_speeds(joined, {}) == (single, four)
    assert joined_speeds(joined, {2: [speed(11.0, 1), speed(21.0, 4)]})[0].rounds == (1, 1, 2, 2)


def test_a_speed_without_rounds_is_the_first_visit() -> None:
    alone = speed(10.0, 1)
    assert alone.visits() == {1: alone.repeats}
    assert alone.of_round(1) == alone
    assert alone.of_round(2).repeats == ()
