from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.datasets import write_data_root
from tests.support.prefect_server import prefect_server


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
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("prefect")
    with ExitStack() as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BITFRONTIER_CACHE", str(folder / "cache"))
            server.enter_context(prefect_server(folder / "log"))
        yield
