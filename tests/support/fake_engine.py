"""The fake engine as an `Engine`, for tests of everything around an engine."""

from __future__ import annotations

import sys

from engines.registry import Engine, engine
from engines.runtime.environments import Environment
from engines.types import Device, Dialect, Launch, PromptLogprobs, Serving

SERVER = "tests.support.emulator"
CPU = Device("cpu", "a test", frozenset(), 1)
HERE = Environment("here", "here", (sys.executable,))


def fake_engine(
    behaviour: str = "good",
    prompt_logprobs: PromptLogprobs = "score",
    ready_seconds: float = 30.0,
    *,
    label_logprobs: bool = False,
    top_tokens: int = 0,
) -> Engine:
    """An engine over the emulator with the given behaviour and dialect."""
    dialect = Dialect(
        prompt_logprobs=prompt_logprobs,
        chunk_tokens="usage",
        metrics="/metrics",
        kv_peak_gauge="bitfrontier_kv_cache_peak_bytes",
        label_logprobs=label_logprobs,
        top_tokens=top_tokens,
    )

    @engine(
        "fake",
        environments={"cpu": "transformers"},
        dialect=dialect,
        unsupported=lambda *_: None,
        read_facts=lambda log: {"fact": int(log.split()[1]), "dtype": "float32"},
    )
    def fake(serving: Serving) -> Launch:
        """A fake."""
        return Launch(("-m", SERVER, str(serving.port), serving.api_key, behaviour), {}, ready_seconds)

    spec: Engine = fake.__engine__  # type: ignore[attr-defined]
    return spec
