from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.datasets import write_data_root


@pytest.fixture
def workplace(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, data and a cache of its own."""
    write_data_root(tmp_path)
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(
        "BITFRONTIER_LOCKS", str(tmp_path / "locks")
    )  # so that no real sweep beside the tests keeps them waiting
    return tmp_path


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield
