"""A bundle, made where there is a network, is swept in a network namespace without a route, with empty caches: a real
model in a real engine, and no request that leaves. Then again on a machine that is poor in every way at once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engines.runtime.own_packages import ROOT
from evals.schema.trial_file import read_trial
from tests.support.one_cell_plan import write_one_cell_plan
from tests.support.small_cgroup import small_cgroup

pytestmark = pytest.mark.real
NAMESPACE = ("unshare", "--map-root-user", "--net")
# addresses beyond the loopback that a process tried to connect or send to
OUTSIDE = re.compile(
    r'(?:connect|sendto|sendmsg)\(.*sa_family=AF_INET6?,.*inet_(?:addr\("|pton\(AF_INET6, ")(?!127\.|::1")'
)


def _no_namespace() -> str:
    """Why there is no network namespace here; empty where there is."""
    if not all(map(shutil.which, ("unshare", "ip"))):
        return "no `unshare` or no `ip`"
    done = subprocess.run([*NAMESPACE, "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False)
    return done.stderr.strip()


def _run(command: list[str | Path], folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.skipif(os.environ.get("BITFRONTIER_LONG_TESTS") != "1", reason="BITFRONTIER_LONG_TESTS is not 1")
@pytest.mark.skipif(bool(_no_namespace()), reason=f"no network namespace: {_no_namespace()}")
def test_a_bundle_is_swept_without_a_network(tmp_path: Path) -> None:
    write_one_cell_plan(tmp_path, "bundled")
    ours = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "flows.cli", "bundle", "plan.yaml", "--out", "bundle", "--no-program"]
    assert (
        "next, there: bitfrontier sweep bundle/files/plan.yaml --bundle bundle" in _run(command, tmp_path, ours).stdout
    )

    there = tmp_path / "there"
    (there / "home").mkdir(parents=True)
    (tmp_path / "bundle").rename(there / "bundle")
    plain = {name: ours[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in ours}
    plain |= {"HOME": str(there / "home"), "BITFRONTIER_CACHE": str(there / "cache")}
    traced = there / "trace"
    trace = (
        ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", traced]
        if shutil.which("strace")
        else []
    )
    sweep = [sys.executable, "-m", "flows.cli", "sweep", "bundle/files/plan.yaml", "--bundle", "bundle", "--json"]
    inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", *trace, *sweep]
    done = _run([*NAMESPACE, *inside], there, plain)
    assert json.loads(done.stdout)["report"] == "runs/bundled/report.html"
    assert re.search(r"from the bundle .*/there/bundle, made 20.* for linux .*, Python 3", done.stderr)
    (trial,) = map(read_trial, (there / "runs" / "bundled" / "trials").glob("*.json"))
    assert trial.status == "ok"
    assert [(score.task, len(score.values)) for score in trial.scores] == [("arc_easy", 2)]
    assert not (there / "home" / ".cache" / "huggingface" / "hub").exists()
    if trace:
        lines = traced.read_text(errors="replace").splitlines()
        assert [line for line in lines if OUTSIDE.search(line)] == []
        assert any('inet_addr("127.0.0.1")' in line for line in lines)  # it does see them


PYTHON_313 = next((str(path) for path in Path.home().glob(".pyenv/versions/3.13.*/bin/python3.13")), None)
PYTHON_313 = PYTHON_313 or shutil.which("python3.13")
LATIN = {"LANG": "en_US.ISO-8859-1", "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
DEAD = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
READ_ONLY = 'mount --bind "$HOME" "$HOME" && mount -o remount,ro,bind "$HOME"'


@pytest.fixture
def cgroup() -> Iterator[list[Path]]:
    """What a process joins by writing its number there: 2 GiB and one CPU."""
    with ExitStack() as stack:
        try:
            files = stack.enter_context(small_cgroup(2 * 1024**3, cpus=1))
        except OSError as error:
            pytest.skip(f"no cgroup may be made here: {error}")
        yield files


@pytest.mark.skipif(os.environ.get("BITFRONTIER_LONG_TESTS") != "1", reason="BITFRONTIER_LONG_TESTS is not 1")
@pytest.mark.skipif(bool(_no_namespace()), reason=f"no network namespace: {_no_namespace()}")
@pytest.mark.skipif(PYTHON_313 is None, reason="no Python 3.13")
def test_a_poor_machine_sweeps_a_bundle(tmp_path: Path, cgroup: list[Path]) -> None:
    """2 GiB and one CPU, a proxy that is dead, a Latin-1 terminal, Python 3.13, a home that cannot be written, TMPDIR
    elsewhere, and no network: all at once.
    """
    write_one_cell_plan(tmp_path, "poor")
    search = f"{Path(PYTHON_313 or '').parent}:{os.environ['PATH']}"  # it builds what its index has no wheel of
    ours = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": search}
    command = [sys.executable, "-m", "flows.cli", "bundle", "plan.yaml", "--out", "bundle", "--python", "3.13"]
    _run(command, tmp_path, ours)
    there = tmp_path / "there"
    for folder in ("home", "elsewhere", "work"):
        (there / folder).mkdir(parents=True)
    (tmp_path / "bundle").rename(there / "work" / "bundle")
    plain = {"PATH": ours["PATH"], "HOME": str(there / "home"), "TMPDIR": str(there / "elsewhere"), **LATIN, **DEAD}
    plain |= {"BITFRONTIER_CACHE": str(there / "cache")}
    install = [
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--find-links",
        "bundle/wheels",
        "-r",
        "bundle/bitfrontier.txt",
    ]
    _run([PYTHON_313 or "", "-m", "venv", there / "tool"], there, plain)
    _run([there / "tool" / "bin" / "python", "-m", *install, "--no-cache-dir"], there / "work", plain)
    join = "".join(f'echo $$ > "{file}" && ' for file in cgroup)
    inside = ["sh", "-c", f'{READ_ONLY} && ip link set lo up && exec "$@"', "sh"]
    sweep = [there / "tool" / "bin" / "bitfrontier", "sweep", "bundle/files/plan.yaml", "--bundle", "bundle"]
    confined = ["sh", "-c", f'{join}exec "$@"', "sh", *NAMESPACE, "--mount", *inside, *sweep]
    at_home = sorted((there / "home").rglob("*"))  # what the installation left there
    done = subprocess.run(confined, cwd=there / "work", env=plain, capture_output=True, check=False)
    (trial,) = map(read_trial, (there / "work" / "runs" / "poor" / "trials").glob("*.json"))
    assert done.returncode == 0, (done.stdout + done.stderr).decode("latin-1")
    assert trial.status == "ok"
    assert "Recommended: none float16 · transformers: " in done.stdout.decode("latin-1")
    assert sorted((there / "home").rglob("*")) == at_home
