"""WikiText-2 in the papers' convention on the real model, where the real text is there."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from engines.spec import Endpoint
from evals.perplexity import PerplexitySpec, papers_perplexity, papers_windows, wikitext2_test
from evals.scoring import score
from evals.tokenizer import load_tokenizer
from flows.sources import Model

ROOT = Path(__file__).resolve().parents[3] / "shared" / "data" / "hub"
pytestmark = pytest.mark.real


@pytest.mark.skipif(not ROOT.is_dir(), reason="no local root with WikiText-2 beside the checkout")
def test_the_first_8192_tokens_of_wikitext2(endpoint: Endpoint, model: Model) -> None:
    spec = PerplexitySpec(window_tokens=2048, max_tokens=8192)
    text = wikitext2_test(ROOT)
    windows = papers_windows(load_tokenizer(model.folder), text, spec)
    one = papers_perplexity(text, spec, score(endpoint, windows))
    mean = sum(total / tokens for total, tokens in one.windows) / len(one.windows)
    assert len(one.windows) == 4
    assert math.exp(-mean) == pytest.approx(24.147, abs=0.01)
