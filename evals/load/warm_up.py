"""What a server is asked before a load is timed, so that nothing is loaded or compiled meanwhile."""

from __future__ import annotations

from evals.schema.load import LoadPoint

WARM_UP_TOKENS = 4
WARM_UP_REQUESTS = 4  # of an open load


def warm_up(load: LoadPoint) -> LoadPoint:
    """A few tokens, at the load's concurrency. No request is longer than the load's longest one: the longest prompt of
    a trace may have a short answer.
    """
    at_once = load.concurrency or min(load.requests, WARM_UP_REQUESTS)
    prompt_tokens = max(load.prompt_tokens - WARM_UP_TOKENS, 1) if load.trace else load.prompt_tokens
    return LoadPoint(at_once, at_once, prompt_tokens, min(load.output_tokens, WARM_UP_TOKENS))
