from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
from pathlib import Path

import pytest

from quant.canonical_json import (
    json_text,
    named_path,
    open_regular,
    open_to_append,
    read_note,
    read_regular,
    whole_file,
    write_json,
    write_whole,
)


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    target, file = tmp_path / "mine", tmp_path / "results.csv"
    target.write_text("mine")
    for write in (lambda: write_whole(file, "new"), lambda: write_json(file, {"a": 1})):
        file.unlink(missing_ok=True)
        file.symlink_to(target)
        write()
        assert not file.is_symlink()
        assert target.read_text() == "mine"
    assert file.read_text() == '{\n "a": 1\n}\n'


def _write_half(file: Path) -> None:
    with whole_file(file) as out:
        out.write(b"half")
        out.flush()
        assert file.read_text() == "before"
        out.write("\ud800".encode())


def test_what_is_not_finished_is_not_seen_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "page"
    write_whole(file, "before")
    with pytest.raises(UnicodeEncodeError):
        _write_half(file)
    assert file.read_text() == "before"
    assert [*tmp_path.iterdir()] == [file]


def test_a_full_disk_names_the_file_and_a_library_s_error_stays(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/page'"), whole_file(tmp_path / "page"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match=r"^column 3$"), whole_file(tmp_path / "page"):
        raise OSError("column 3")


@pytest.mark.parametrize("number", [None, errno.EINVAL, errno.EIO])
def test_a_record_and_its_name_are_on_the_disk(
    number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file before it has its name, the folder after; a file system that cannot is no failure, a broken disk is."""
    file, synced, fsync = tmp_path / "record", [], os.fsync

    def noted(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append((folder, file.exists()))
        if folder and number is not None:
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    with pytest.raises(OSError, match="record") if number == errno.EIO else contextlib.nullcontext():
        write_json(file, {})
    assert synced == [(False, False), (True, True)]
    write_whole(tmp_path / "page", "")
    assert len(synced) == 2


def test_a_new_file_has_the_user_s_mode(tmp_path: Path) -> None:
    write_whole(tmp_path / "ours", b"")
    (tmp_path / "usual").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_log_is_appended_to_and_never_through_a_link(tmp_path: Path) -> None:
    log, target = tmp_path / "log", tmp_path / "mine"
    for line in (b"a\n", b"b\n"):
        with open_to_append(log) as file:
            file.write(line)
    assert log.read_bytes() == b"a\nb\n"
    log.unlink()
    log.symlink_to(target)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        open_to_append(log)
    assert not target.exists()


def test_whoever_gets_a_log_writes_as_into_any_file(tmp_path: Path) -> None:
    with open_to_append(tmp_path / "log") as log:
        assert os.get_blocking(log.fileno())


def test_a_pipe_in_the_place_of_a_log_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    with pytest.raises(OSError, match="No such device or address"):
        open_to_append(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError, match="No such device or address"):
        open_to_append(tmp_path / "log")
    os.close(reader)


def test_numbers_that_json_does_not_have_are_null() -> None:
    """Also in a sequence in a mapping; a name stays what it is."""
    text = json_text({"low": -math.inf, "inside": [(1.5, math.nan), {"high": math.inf, "inf": "inf"}], "count": 3})
    read = json.loads(text, parse_constant=lambda name: 1 / 0)
    assert read == {"low": None, "inside": [[1.5, None], {"high": None, "inf": "inf"}], "count": 3}


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A pipe would be waited for, a device never ends, and a sparse file fills the memory."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 2**40)
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link") == b"x"
    for name, fault in (
        ("pipe", "not a regular file"),
        ("zero", "not a regular file"),
        ("huge", "at most"),
        (".", "directory"),
    ):
        with pytest.raises(OSError, match=fault):
            open_regular(tmp_path / name)
    for name, fault in (
        ("loop", "Too many levels"),
        ("nowhere", "No such file"),
        ("a\0b", "no path"),
        ("x" * 300, "too long"),
    ):
        with pytest.raises(OSError, match=fault):
            read_regular(tmp_path / name)


def test_a_path_that_is_none_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for text in ("x" * 300, "loop/y", "a\0b", "\ud800"):
        assert not named_path(tmp_path, text).exists()
    assert named_path(tmp_path, "../x") == tmp_path.parent / "x"


def test_the_home_is_found_where_no_shell_put_it_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert named_path(tmp_path, "~/models/x") == tmp_path / "home" / "models" / "x"
    assert named_path(tmp_path, "~nobody-of-this-name/x") == tmp_path / "~nobody-of-this-name" / "x"
    assert not named_path(tmp_path, "~a\0b/x").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"a": 1'])
def test_a_damaged_note_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "note.json").write_bytes(content)
    assert read_note(tmp_path / "note.json") == {}
    assert read_note(tmp_path / "nowhere.json") == {}
