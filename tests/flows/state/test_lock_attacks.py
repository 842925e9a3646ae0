"""What another user of the machine, or somebody's run, may put in the place of a lock."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import pwd
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from flows.state import locks
from flows.state.locks import alone, cache_in_use, hold, holder, is_held, slot_lock, slots
from quant.errors import BitfrontierError

USER = pwd.getpwuid(os.geteuid()).pw_name
PLACES = {"link": lambda file: file.symlink_to(file.parent.parent / "mine"), "pipe": os.mkfifo, "folder": os.mkdir}
HELD_BY_ANOTHER = """
import select, sys
from pathlib import Path
from flows.state.locks import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    select.select([sys.stdin], [], [], 15)
"""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files, in which everybody may write; the user's locks are in a folder in it."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.delenv("BITFRONTIER_LOCKS", raising=False)
    monkeypatch.setattr(locks, "SHARED_FOLDERS", (str(folder),))
    return folder


@pytest.mark.parametrize("kind", PLACES)
def test_what_is_no_file_in_the_place_of_a_lock_is_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    file = tmp_path / "locks" / "cpu.lock"
    file.parent.mkdir()
    PLACES[kind](file)
    for use in (lambda: hold(file).__enter__(), lambda: is_held(file)):
        with pytest.raises(
            BitfrontierError, match=r"cpu\.lock is a link, a pipe or a folder instead of a lock file\. Delete it"
        ):
            use()
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_file_that_is_swapped_while_it_is_held_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written goes to the file that was opened, not to what has its name by then."""
    file, target = tmp_path / "cpu.lock", tmp_path / "mine"
    target.write_text("mine")

    def now(*_: object) -> float:
        file.unlink(missing_ok=True)
        file.symlink_to(target)
        return 0.0

    monkeypatch.setattr(locks.time, "time", now)
    with hold(file):
        assert target.read_text() == "mine"


def test_a_second_name_of_a_file_of_ours_is_not_written(tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.write_text("mine")
    (tmp_path / "cpu.lock").hardlink_to(target)
    with hold(tmp_path / "cpu.lock"):
        assert target.read_text() == "mine"


def test_the_cache_s_lock_is_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "cache.lock").symlink_to(tmp_path / "made")
    with pytest.raises(BitfrontierError, match=r"cache\.lock is a link, a pipe or a folder"), cache_in_use():
        pass
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["logs", "trials/a.json"])
def test_a_run_with_links_is_not_swept(name: str, tmp_path: Path) -> None:
    (tmp_path / "run" / name).parent.mkdir(parents=True)
    (tmp_path / "run" / name).symlink_to(tmp_path)
    with pytest.raises(BitfrontierError, match=rf"run/{name} is a symbolic link"), alone(tmp_path / "run"):
        pass


def test_the_folder_of_locks_is_the_user_s_alone(shared: Path) -> None:
    folder = shared / f"bitfrontier-{os.geteuid()}"
    folder.mkdir(mode=0o777)  # as an older version made it
    folder.chmod(0o775)
    with slots(["cpu"]):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_of_locks_that_another_user_made_is_refused(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user, other = USER, os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    monkeypatch.setattr(os, "getuid", lambda: other)
    (shared / f"bitfrontier-{other}").mkdir()
    words = (
        rf"bitfrontier-{other}, for the locks of devices, belongs to user {user}\. Delete it, or set BITFRONTIER_LOCKS"
    )
    with pytest.raises(BitfrontierError, match=words):
        slot_lock("cpu")


def test_a_link_in_the_place_of_the_folder_of_locks_is_refused(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (shared / f"bitfrontier-{os.geteuid()}").symlink_to(tmp_path / "mine")
    with (
        pytest.raises(BitfrontierError, match=r"for the locks of devices, is a link or a file\. Delete it"),
        slots("a"),
    ):
        pass
    assert not [*(tmp_path / "mine").iterdir()]


def test_a_given_folder_is_the_user_s_or_shared_on_purpose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITFRONTIER_LOCKS", str(tmp_path / "given"))
    (tmp_path / "given").mkdir()
    (tmp_path / "given").chmod(0o777)
    words = r"given, for the locks of devices, may be written by others \(mode 777\)\. `chmod 700 .*given`, or"
    with pytest.raises(BitfrontierError, match=words):
        slot_lock("cpu")
    (tmp_path / "given").chmod(0o1777)
    with slots(["cpu"]):
        assert is_held(slot_lock("cpu"))


def test_a_lock_of_another_user_is_held_and_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder is known by the kernel: the file says who held it when its owner did."""
    file = tmp_path / "cpu.lock"
    file.write_text('{"pid": 1, "since_seconds": 0.0, "user": "first"}')
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    with hold(file):
        assert '"first"' in file.read_text()
        owner = holder(file)
        assert owner is not None
        assert (owner.pid, owner.user) == (os.getpid(), USER)


def test_a_lock_that_may_only_be_read_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.lock").write_text("")
    opened = os.open

    def only_for_reading(file: Path, flags: int, *mode: int) -> int:
        if flags & (os.O_RDWR | os.O_CREAT):
            raise PermissionError(13, "Permission denied", str(file))
        return opened(file, flags, *mode)

    monkeypatch.setattr(os, "open", only_for_reading)
    monkeypatch.setattr(os, "geteuid", lambda: -1)
    with hold(tmp_path / "cpu.lock"):
        assert is_held(tmp_path / "cpu.lock")
    words = r"none\.lock cannot be created: Permission denied\. Make .* writable"
    with pytest.raises(BitfrontierError, match=words), hold(tmp_path / "none.lock"):
        pass


def test_a_lock_that_may_not_be_read_says_who_mends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpu.lock"

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(os, "open", refused)
    for use in (lambda: hold(file).__enter__(), lambda: is_held(file)):
        with pytest.raises(BitfrontierError, match=r"cpu\.lock is not readable: .* Ask its owner for `chmod 644 /"):
            use()


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [
        (errno.EBADF, BitfrontierError, r"cpu\.lock belongs to another user, .*\. Set BITFRONTIER_LOCKS to a folder"),
        (errno.ENOLCK, OSError, "No locks available"),
    ],
)
def test_a_file_system_that_locks_only_what_may_be_written(
    number: int, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(error, match=words), hold(tmp_path / "cpu.lock"):
        pass


@pytest.mark.parametrize(("mode", "made"), [(0o1777, 0o644), (0o700, 0o600)])
def test_a_shared_lock_may_be_read_whatever_the_umask(
    mode: int, made: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock in a folder of the user's alone stays as the umask says."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given").chmod(mode)
    monkeypatch.setenv("BITFRONTIER_LOCKS", str(tmp_path / "given"))
    umask = os.umask(0o077)
    try:
        with slots(["cpu"]):
            assert stat.S_IMODE(slot_lock("cpu").stat().st_mode) == made
    finally:
        os.umask(umask)


def test_a_given_folder_may_be_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it leads to is held to the same."""
    (tmp_path / "given").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "given")
    monkeypatch.setenv("BITFRONTIER_LOCKS", str(tmp_path / "link"))
    with slots(["cpu"]):
        assert (tmp_path / "given" / "cpu.lock").exists()
    (tmp_path / "given").chmod(0o777)
    with pytest.raises(BitfrontierError, match=r"given, for the locks of devices, may be written by others"):
        slot_lock("cpu")


def test_who_waits_says_for_whom(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, waits = tmp_path / "cpu.lock", list[str]()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HELD_BY_ANOTHER, str(file)], **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        since = holder(file)
        process_ends = logging.Handler()
        process_ends.emit = lambda _: process.stdin.close()  # type: ignore[method-assign,union-attr]
        logging.getLogger("flows.state.locks").addHandler(process_ends)
        try:
            with caplog.at_level(logging.WARNING), hold(file, waits=waits.append):
                pass
        finally:
            logging.getLogger("flows.state.locks").removeHandler(process_ends)
    [words] = caplog.messages
    assert waits == [words, ""]
    assert words == f"waiting for {since}, which holds {file}"
    assert words.startswith(f"waiting for PID {process.pid} of user {USER} since ")
