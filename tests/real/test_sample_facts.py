"""What the sample's file says of its model before the download is what the model's own files say after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flows.sources.model_facts import describe_folder, look_up_model
from flows.sources.models import Model

pytestmark = pytest.mark.real


def test_facts_before_and_after_the_download(model: Model) -> None:
    before, after = look_up_model("pypi:smollm2-135m-instruct", Path()), describe_folder(model.folder)
    elsewhere = {
        "name": before.name,
        "kind": before.kind,
        "location": before.location,
        "download_bytes": before.download_bytes,
        "note": before.note,
    }
    assert replace(after, **elsewhere) == before
