"""A bundle for another machine is refused, and one for this machine is used alone."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import pytest

from engines.runtime.child_environment import child_environment
from engines.runtime.installing.pip_config import index_variables, pip_settings, torch_backend, uv_files
from engines.runtime.installing.pythons import OWN
from flows.bundle.contents import BadBundle
from flows.bundle.use import from_bundle
from flows.state.progress_display import LogDisplay
from tests.support.made_bundles import write_bundle


class Reached(Exception):
    """The plan would be checked now."""


def _check(base: Path | None) -> Any:
    raise Reached(str(base))


def _used(folder: Path) -> None:
    from_bundle(str(folder), _check, LogDisplay(lambda _: None))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"platform": "manylinux_2_17_aarch64"},
            r"is for linux aarch64 \(glibc 2\.17 or newer\), .*, and this is linux x86",
        ),
        (
            {"platform": "manylinux_2_99_x86_64"},
            r"and this machine has glibc 2\.\d+\. Make one with --platform manylinux_2",
        ),
        ({"python": "3.9"}, rf"and bitfrontier runs on Python {OWN} here\. Make one with --python {OWN}, or install"),
    ],
)
def test_a_bundle_for_another_machine_is_refused(place: Path, changes: dict[str, str], expected: str) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("the errors are those of an x86_64")
    write_bundle(place / "bundle", {}, **changes)
    with pytest.raises(BadBundle, match=expected):
        _used(place / "bundle")


def test_a_path_that_pip_cannot_take_is_refused(place: Path) -> None:
    write_bundle(place / "my bundle", {})
    with pytest.raises(
        BadBundle, match=r"my bundle: pip and uv take no wheels from a path with a space or a comma\. Move"
    ):
        _used(place / "my bundle")


def test_nothing_else_is_asked_for_packages_models_and_data(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_INDEX_URL", "PIP_INDEX_URL", "UV_FIND_LINKS", "UV_TORCH_BACKEND", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.setenv(name, "elsewhere")
    bundle = write_bundle(place / "bundle", {"wheels/torch-2.13.0-py3-none-any.whl": b"x", "datasets/a/b.json": b"{}"})
    with pytest.raises(Reached, match="bundle/files"):
        _used(bundle)
    assert pip_settings() == {"find-links": [f"{bundle}/wheels"], "no-index": ["1"]}
    assert index_variables(pip_settings()) == {"UV_FIND_LINKS": f"{bundle}/wheels"}
    assert (torch_backend(pip_settings()), uv_files()) == (None, [])
    child = child_environment({}, fetches=True)
    assert (child["UV_OFFLINE"], child["HF_HUB_OFFLINE"], child["HF_HUB_CACHE"]) == ("1", "1", f"{bundle}/hub")
    assert Path(child["HF_DATASETS_CACHE"], "a", "b.json").is_file()
    assert not any("elsewhere" in value for value in child.values())
    assert os.environ["PIP_CONFIG_FILE"] == os.devnull


def test_libraries_that_were_imported_are_told(place: Path) -> None:
    import datasets.config
    import huggingface_hub.constants

    bundle = write_bundle(place / "bundle", {})
    with pytest.raises(Reached):
        _used(bundle)
    assert (f"{bundle}/hub", True) == (huggingface_hub.constants.HF_HUB_CACHE, huggingface_hub.constants.HF_HUB_OFFLINE)
    assert str(datasets.config.HF_DATASETS_CACHE).startswith(f"{place}/cache/bundles/")


def test_a_home_that_no_shell_put_in_is_meant(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place))
    with pytest.raises(BadBundle, match=rf"^{place}/none is no folder"):
        _used(Path("~/none"))
