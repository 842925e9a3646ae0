from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.process import ProcessFailed
from flows.cells import EngineChoice
from flows.measure import _reach
from tests.engines.fake import CPU, fake_engine


def test_an_engine_without_environment_is_not_started(tmp_path: Path) -> None:
    choice, work = EngineChoice(fake_engine(), {}, ""), Any
    with (
        pytest.raises(ProcessFailed, match="fake has no environment on this device"),
        _reach(choice, None, tmp_path, CPU, work, tmp_path / "log"),
    ):
        pass
