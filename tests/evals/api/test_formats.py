from __future__ import annotations

import json
from pathlib import Path

from engines.types import Dialect, Endpoint
from evals.api.formats import prompt_vocabulary


def test_no_id_beyond_the_embedding_is_drawn(tiny_model: Path) -> None:
    """The tokenizer has 8 words, two of them special; one that was added later may have no row."""
    dialect = Dialect(prompt_logprobs="none", chunk_tokens="one", metrics=None)
    endpoint = Endpoint("http://x:1", "", None, tiny_model / "log", dialect, 0.0, {})
    assert prompt_vocabulary(endpoint, tiny_model) == [2, 3, 4, 5, 6, 7]
    config = tiny_model / "config.json"
    config.write_text(json.dumps({"text_config": {"vocab_size": 5}}))
    assert prompt_vocabulary(endpoint, tiny_model) == [2, 3, 4]
    config.unlink()  # a GGUF alone
    assert prompt_vocabulary(endpoint, tiny_model) == [2, 3, 4, 5, 6, 7]
