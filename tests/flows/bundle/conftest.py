from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _own_variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A bundle sets this process's variables, for good."""
    import datasets.config
    import huggingface_hub.constants

    for module, names in (
        (huggingface_hub.constants, ("HF_HUB_OFFLINE", "HF_HUB_CACHE")),
        (datasets.config, ("HF_HUB_OFFLINE", "HF_DATASETS_CACHE")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
