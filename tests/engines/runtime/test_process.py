"""No child is ever left behind: not after stop, not after `kill -9` of the parent, not when it hides in a session."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import engines.runtime.process
from engines.runtime.child_environment import deciding_variables
from engines.runtime.process import ProcessFailed, oom_kills, read_log, running, start, stop, tail, wait
from engines.types import CRASH_PREFIX
from quant.errors import FailureKind

ROOT = Path(__file__).resolve().parents[3]
FAMILY = "sleep 987 & setsid sleep 986 & trap '' TERM; sleep 985"


def _wait_for(condition: object, seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


SHELL = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "LLAMA_ARG_CTX_SIZE": "8",
    "OMP_NUM_THREADS": "64",
    "SGLANG_LOG_MS": "1",
    "PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///mine.db",
    "PYTHONPATH": "/mine",
    "VIRTUAL_ENV": "/mine",
    "HF_TOKEN": "secret",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "UV_INDEX_URL": "http://127.0.0.1:9/simple",
    "LC_ALL": "C.UTF-8",
    "CUDA_VISIBLE_DEVICES": "1",
    "OPENBLAS_CORETYPE": "Haswell",
    "BITFRONTIER_X": "y",
    "BITFRONTIER_KEY": "secret",
    "NVIDIA_API_KEY": "secret",
}
NEVER = {"VLLM_LOGGING_LEVEL", "LLAMA_ARG_CTX_SIZE", "OMP_NUM_THREADS", "SGLANG_LOG_MS", "VIRTUAL_ENV"}
NEVER |= {"PREFECT_API_DATABASE_CONNECTION_URL", "BITFRONTIER_KEY", "NVIDIA_API_KEY"}
FETCHING = {"HF_TOKEN", "HTTPS_PROXY", "UV_INDEX_URL"}


@pytest.mark.parametrize("fetches", [False, True])
def test_listed_variables_of_the_shell_alone_reach_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetches: bool
) -> None:
    for name, value in SHELL.items():
        monkeypatch.setenv(name, value)
    assert "NVIDIA_API_KEY" not in deciding_variables()
    child = start(["env"], {"GIVEN": "1", "LC_ALL": "C"}, tmp_path / "log", fetches=fetches)
    wait(child)
    stop(child)
    seen = dict(line.split("=", 1) for line in (tmp_path / "log").read_text().splitlines() if "=" in line)
    assert set(seen) & (NEVER | FETCHING) == (FETCHING if fetches else set())
    expected = {"GIVEN": "1", "LC_ALL": "C", "PYTHONPATH": str(ROOT), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    expected["PYTHONUTF8"] = "1"  # whatever the terminal's encoding is
    expected |= {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1"}
    expected["PYTHONSAFEPATH"] = "1"  # whatever lies in the working directory
    assert expected.items() <= seen.items()
    assert {name: seen[name] for name in ("CUDA_VISIBLE_DEVICES", "OPENBLAS_CORETYPE", "BITFRONTIER_X")} == {
        "CUDA_VISIBLE_DEVICES": "1",
        "OPENBLAS_CORETYPE": "Haswell",
        "BITFRONTIER_X": "y",
    }


@pytest.mark.parametrize("folder", ["quant", "engines", "evals", "reports", "flows"])
def test_no_other_place_makes_a_childs_environment(folder: str) -> None:
    """The launchers hand on what they got themselves."""
    for file in (ROOT / folder).rglob("*.py"):
        if file.parent.name != "launchers":
            assert "**os.environ" not in file.read_text(encoding="utf-8"), file


def test_a_child_runs_nothing_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "it-ran"
    for name in ("psutil", "json", "planted"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    with running([sys.executable, "-m", "planted"], {}, tmp_path / "log") as child:
        assert child.guard.wait() == 1
    assert "No module named planted" in (tmp_path / "log").read_text()
    assert not mark.exists()


def test_stop_ends_the_whole_tree(tmp_path: Path) -> None:
    child = start(["bash", "-c", "sleep 987 & setsid sleep 986 & sleep 985"], {}, tmp_path / "log")
    assert _wait_for(lambda: len(child.tree()) >= 3)
    tree = child.tree()
    stop(child)
    stop(child)
    assert not [process for process in tree if process.is_running()]


def test_kill_9_of_the_parent_leaves_no_orphan(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from engines.runtime.process import start\n"
        f"child = start(['bash', '-c', {FAMILY!r}], {{}}, Path({str(tmp_path / 'log')!r}))\n"
        "print(child.guard.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    guard = psutil.Process(int(parent.stdout.readline()))
    assert _wait_for(lambda: len(guard.children(recursive=True)) >= 3)
    tree = [guard, *guard.children(recursive=True)]
    parent.kill()
    parent.wait()
    assert _wait_for(lambda: not [p for p in tree if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])


def test_kill_9_of_the_guard_ends_the_command(tmp_path: Path) -> None:
    child = start(["sleep", "984"], {}, tmp_path / "log")
    assert _wait_for(lambda: child.tree())
    tree = child.tree()
    child.guard.kill()
    assert _wait_for(lambda: not [p for p in tree if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])
    stop(child)


@pytest.mark.parametrize(("guard", "output"), [("os.getppid()", "lives\n"), ("os.getppid() + 1", "")])
def test_a_command_whose_guard_died_before_it_could_ask_ends(guard: str, output: str) -> None:
    code = f"import os; from engines.runtime.supervisor import _die_with; _die_with({guard}); print('lives')"
    ended = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert (ended.returncode, ended.stdout) == (0 if output else 1, output)


def test_wait_gives_exit_code_and_progress(tmp_path: Path) -> None:
    code = "from quant.progress import report; report('a', 1, 4); report('a', 4, 4); raise SystemExit(3)"
    seen: list[tuple[str, float, float]] = []
    with running([sys.executable, "-c", code], {}, tmp_path / "log") as child:
        assert wait(child, lambda *progress: seen.append(progress)) == 3
    assert seen == [("a", 1, 4), ("a", 4, 4)]


def test_a_child_that_is_not_done_in_time(tmp_path: Path) -> None:
    with (
        running(["sleep", "983"], {}, tmp_path / "log") as child,
        pytest.raises(TimeoutError, match=r"was not done after 0\.1 s"),
    ):
        wait(child, limit_seconds=0.1)


@pytest.mark.parametrize(
    ("command", "kills_after", "words"),
    [
        ("exit 7", 3, "exit code 7"),
        ("exit 255", 3, "exit code 255"),
        ("kill -SEGV $$", 3, "signal SIGSEGV"),
        ("kill -9 $$", 3, "signal SIGKILL"),
        ("kill -9 $$", 4, "signal SIGKILL, by the kernel for want of memory"),
    ],
)
def test_an_end_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, kills_after: int, words: str
) -> None:
    monkeypatch.setattr(engines.runtime.process, "VMSTAT", tmp_path / "vmstat")
    (tmp_path / "vmstat").write_text("nr_free_pages 9\noom_kill 3\n")
    with running(["bash", "-c", command], {}, tmp_path / "log") as child:
        (tmp_path / "vmstat").write_text(f"nr_free_pages 8\noom_kill {kills_after}\n")
        assert child.ending == words


def test_the_kernel_tells_how_often_it_killed_for_want_of_memory() -> None:
    assert oom_kills() >= 0
    assert "oom_kill " in engines.runtime.process.VMSTAT.read_text()


@pytest.mark.parametrize(
    ("text", "kind", "known", "cause"),
    [
        ("one\ntwo: 2\n", "crash-at-start", "crash-at-start", "it broke: two: 2"),
        ("", "crash-at-start", "crash-at-start", "it broke"),
        ("OSError: [Errno 28] No space left on device\nbye", "method-failed", "full-disk", "it broke: bye"),
        ("torch.OutOfMemoryError: CUDA out of memory\n", "timeout", "timeout", "it broke: torch.OutOfMemoryError: "),
        (f"{CRASH_PREFIX}IndexError: no cache\nbye", "crash-in-use", "reference-server-crash", "it broke: IndexError"),
        (f"{CRASH_PREFIX}MemoryError\n", "crash-in-use", "out-of-memory", "it broke: MemoryError"),
    ],
)
def test_a_log_tells_the_cause_and_of_mere_symptoms_the_kind(
    tmp_path: Path, text: str, kind: FailureKind, known: FailureKind, cause: str
) -> None:
    (tmp_path / "log").write_text(text)
    failure = ProcessFailed("it broke", tmp_path / "log", kind=kind)
    assert failure.kind == known
    assert failure.cause.startswith(cause)
    assert failure.log_tail == (text.strip() or "(the log is empty)")
    explained = ProcessFailed("it broke so", tmp_path / "log", kind=kind, explains=True)
    assert (explained.cause, explained.kind) == ("it broke so", known)


def test_without_a_log_the_message_is_all() -> None:
    failure = ProcessFailed("it broke")
    assert (failure.cause, failure.kind, failure.log_tail) == ("it broke", "other", "")


def test_of_a_long_log_the_end_is_read(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("x" * 70000 + "\nlast")
    assert ProcessFailed("it broke", tmp_path / "log").cause == "it broke: last"


@pytest.mark.parametrize(
    ("command", "kills_after", "kind"),
    [
        ("kill -KILL $$", 7, "worker-lost"),
        ("kill -KILL $$", 8, "out-of-memory"),
        ("kill -TERM $$", 7, "worker-lost"),
        ("kill -SEGV $$", 7, "method-failed"),
        ("exit 3", 8, "method-failed"),
    ],
)
def test_what_kind_of_failure_an_ending_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, kills_after: int, kind: FailureKind
) -> None:
    monkeypatch.setattr(engines.runtime.process, "VMSTAT", tmp_path / "vmstat")
    (tmp_path / "vmstat").write_text("oom_kill 7\n")
    with running(["bash", "-c", command], {}, tmp_path / "log") as child:
        (tmp_path / "vmstat").write_text(f"oom_kill {kills_after}\n")
        assert child.loss("method-failed") == kind


def test_output_goes_to_the_log(tmp_path: Path) -> None:
    with running(["bash", "-c", "echo out; echo err >&2"], {"X": "1"}, tmp_path / "log") as child:
        wait(child)
    assert set(tail(tmp_path / "log").splitlines()) == {"out", "err"}


@pytest.mark.parametrize(("text", "shown"), [(None, "no log at"), ("", "the log is empty"), ("a\nb\nc", "b\nc")])
def test_tail(tmp_path: Path, text: str | None, shown: str) -> None:
    if text is not None:
        (tmp_path / "log").write_text(text)
    assert shown in tail(tmp_path / "log", 2)


def test_of_a_line_of_50_megabytes_little_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"bitfrontier-version 1\n" + b"x" * 50 * 10**6 + b"\nRuntimeError: " + b"y" * 10**6)
    error = ProcessFailed("the server ended", log)
    assert len(error.shown) < 3000
    assert len(read_log(log)) < 20_000
    assert read_log(log).startswith("bitfrontier-version 1\nxxx")


def test_a_child_that_cannot_be_started_leaves_no_pipe_open(tmp_path: Path) -> None:
    opened = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(ValueError, match="null byte"):
            start(["a\0b"], {}, tmp_path / "log")
    assert len(list(Path("/proc/self/fd").iterdir())) == opened
