"""Holm's correction."""

from __future__ import annotations

import pytest

from evals.stats.multiple_testing import holm


def test_holms_adjustment() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
