from __future__ import annotations

import platform
from pathlib import Path

import pytest

from engines.runtime.environments import run_uv
from engines.runtime.installing.pythons import OWN
from flows.bundle.contents import BadBundle
from flows.bundle.targets import Target, target_of

NAMES = [
    "a-1-py3-none-any.whl",
    "a-1-cp37-abi3-manylinux_2_5_x86_64.manylinux1_x86_64.whl",
    "a-1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    "a-1-cp311-cp311-manylinux_2_31_x86_64.whl",
    "a-1-cp311-cp311-musllinux_1_2_x86_64.whl",
    "a-1-cp312-cp312-manylinux_2_17_aarch64.whl",
]


@pytest.mark.parametrize(
    ("wheels", "python", "number"),
    [
        ("manylinux_2_28_x86_64", "3.11", 2),
        ("manylinux_2_35_x86_64", "3.11", 3),
        ("manylinux_2_28_x86_64", "3.12", 1),
        ("manylinux_2_28_aarch64", "3.12", 5),
        ("manylinux_2_28_aarch64", "3.11", 0),
    ],
)
def test_the_wheel_that_an_installer_takes_there(wheels: str, python: str, number: int) -> None:
    assert Target(wheels, python).best(NAMES) == NAMES[number]


def test_none_fits() -> None:
    assert Target("manylinux_2_28_aarch64", "3.11").best(NAMES[1:5]) is None


def test_the_machine_is_this_one_by_default() -> None:
    here = target_of(None, None)
    assert (here.python, here.runs_what_is_built_here) == (OWN, True)
    assert here.arguments[:2] == ("--python-version", OWN)
    assert not target_of("manylinux_2_17_x86_64", "3.12").runs_what_is_built_here


@pytest.mark.parametrize(("glibc", "known"), [(17, 17), (27, 17), (30, 28), (36, 36), (41, 40)])
def test_uv_is_asked_for_a_glibc_that_it_knows(glibc: int, known: int, tmp_path: Path) -> None:
    arguments = Target(f"manylinux_2_{glibc}_x86_64", OWN).arguments
    assert arguments[-1] == f"x86_64-manylinux_2_{known}"
    (tmp_path / "none.txt").touch()
    run_uv("pip", "compile", "--quiet", str(tmp_path / "none.txt"), *arguments)  # which refuses what it does not know


def test_a_gpu_that_is_elsewhere() -> None:
    here, there = target_of(None, None), target_of(None, None, "9.0")
    assert (here.device, here.backend("auto"), here.backend(None)) == (None, "auto", None)
    assert there.device is not None
    assert (there.device.kind, there.device.features) == ("cuda", {"sm90"})
    assert (there.backend("auto"), there.backend("cu128")) == (None, "cu128")  # what the shell says counts
    with pytest.raises(BadBundle, match=r"--gpu H100: it is no compute capability\. Write it as 9\.0"):
        target_of(None, None, "H100")


def test_what_is_no_machine_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadBundle, match="platform 'win_amd64' is no manylinux tag"):
        target_of("win_amd64", None)
    with pytest.raises(
        BadBundle, match=r"--platform manylinux_2_12_x86_64: uv resolves for glibc 2\.17 or newer\. Name"
    ):
        target_of("manylinux_2_12_x86_64", None)
    with pytest.raises(BadBundle, match=r"--python 3\.9: bitfrontier runs on 3\.11, .*3\.14\. Name one of these"):
        target_of(None, "3.9")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with pytest.raises(
        BadBundle, match=r"this machine has no glibc, so its wheels are others\. Name a machine by --platf"
    ):
        target_of(None, None)
