from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import flows.execute.manifest
from flows.execute.manifest import commit


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    """A repository of somebody else with one commit."""
    ours = ["-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "--allow-empty", "--message", "first"]
    for arguments in (["init", "--quiet"], ours):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)
    commit.cache_clear()
    yield tmp_path
    commit.cache_clear()


def test_a_checkout_has_a_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.execute.manifest, "ROOT", repository)
    assert len(commit()) == 12


def test_an_installation_within_a_repository_has_none(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.execute.manifest, "ROOT", repository / ".venv" / "site-packages")
    assert commit() == ""
