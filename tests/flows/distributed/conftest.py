from __future__ import annotations

import pytest

from tests.support.worker_races import install_race


@pytest.fixture
def race(prefect: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A race over a fake engine, recorded by Prefect."""
    install_race(monkeypatch)
