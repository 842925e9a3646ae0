"""The sample model was dequantized from Q4_1: its weights lie on that grid, and on no other."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from flows.sources.models import Model
from quant.checkpoints.source_grid import NEARLY_ALL, Grid, _same_blocks, _sampled, find_grid

pytestmark = pytest.mark.real


@pytest.mark.parametrize(("kind", "shares"), [("Q4_1", True), ("Q4_0", False), ("Q5_1", False), ("Q8_0", False)])
def test_only_its_own_rounding_gives_the_samples_weights_again(model: Model, kind: str, *, shares: bool) -> None:
    rows, numbers = dict(_sampled(model.folder)), GGMLQuantizationType[kind]
    same = _same_blocks(
        model.folder, lambda name, _: dequantize(quantize(rows[name], numbers), numbers).astype(np.float32), 32
    )
    assert find_grid(model.folder) == Grid(4, 32)
    assert same is not None
    assert (same >= NEARLY_ALL) is shares
    assert shares or same < 0.1
