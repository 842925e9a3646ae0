"""WikiText-2 in every convention on the real model, where the real text is there."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from engines.types import Endpoint
from evals.accuracy.perplexity import TEXTS, PerplexitySpec, pairs_of, passes, perplexity_of, windows_of
from evals.api.tokenizers import load_tokenizer
from evals.data.corpora import sha256_of
from evals.scoring.loglikelihood import score
from flows.sources.models import Model

ROOT = Path(__file__).resolve().parents[3] / "shared" / "data" / "hub"
pytestmark = pytest.mark.real
# computed once with plain Transformers, first 3,072 tokens
PAPERS, STRIDED = PerplexitySpec("papers", 1024, 1024, 3072), PerplexitySpec("strided", 1024, 512, 3072)
LLAMA_CPP = PerplexitySpec("llama.cpp", 512, 512, 3072)
KNOWN = {PAPERS: 21.490, STRIDED: 18.956, LLAMA_CPP: 22.459}


@pytest.mark.skipif(not ROOT.is_dir(), reason="no local root with WikiText-2 beside the checkout")
@pytest.mark.parametrize("specs", [(PAPERS, STRIDED), (LLAMA_CPP,)], ids=["papers and strided", "llama.cpp"])
def test_the_first_tokens_of_wikitext2(endpoint: Endpoint, model: Model, specs: tuple[PerplexitySpec, ...]) -> None:
    text = TEXTS[specs[0].convention](ROOT)
    ids = load_tokenizer(model.folder).encode(text).ids
    windows = {spec: windows_of(spec, ids, None) for spec in specs}
    needed = passes([window for group in windows.values() for window in group])
    assert len(needed) < sum(map(len, windows.values())) or len(specs) == 1
    scores = score(endpoint, pairs_of(ids, needed))
    for spec, group in windows.items():
        tokens = perplexity_of(spec, sha256_of(text), group, needed, scores).tokens
        mean = sum(map(sum, tokens)) / sum(map(len, tokens))
        assert math.exp(-mean) == pytest.approx(KNOWN[spec], abs=0.01), spec.convention


@pytest.mark.skipif(not ROOT.is_dir(), reason="no local root with WikiText-2 beside the checkout")
def test_the_raw_file_is_the_official_one() -> None:
    assert sha256_of(TEXTS["llama.cpp"](ROOT)).startswith("173c87a5")
