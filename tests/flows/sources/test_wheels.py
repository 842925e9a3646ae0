from __future__ import annotations

from pathlib import Path

import pytest

from engines.runtime.environments import EnvironmentFailed
from flows.sources.wheels import fetch_wheel


def test_a_wheel_with_another_digest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path))
    with pytest.raises(EnvironmentFailed, match="uv pip install failed"):
        fetch_wheel("packaging", "26.3", "0" * 64)
    assert not list((tmp_path / "wheels").glob("packaging-26.3-*/packaging"))
