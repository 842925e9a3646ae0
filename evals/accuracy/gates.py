"""Checks that a cell must pass before anything of it is measured.

A server can answer with log-probabilities that are shifted by one, polluted by a BOS token or taken after sampling,
and a checkpoint can load silently as garbage. Either would give numbers; neither may.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines.bounded_http import json_of, request
from engines.types import Endpoint, ServerFailed
from evals.accuracy.contamination import RUN_TOKENS
from evals.api.formats import completion_body, completion_path, completion_text
from evals.schema.trial import Gate
from evals.scoring.loglikelihood import score
from evals.scoring.types import Pair
from quant.checkpoints.source_grid import find_grid, shares_grid
from quant.types import Scheme

# of float16: llama-server batches what has just come, so its log-probabilities differ from start to start, by 0.006 at
# most in twelve starts with the same file
GOLDEN_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.02}
SANITY_FACTOR = 3.0
TOLERATED_SHARE = 0.01
SOURCE_GRID = "source's grid"


class GateFailed(ServerFailed):
    """A gate did not pass; the message is the reason that the report shows."""

    kind = "garbage-output"


def golden_prompt(endpoint: Endpoint, reference: Mapping[str, Any], dtype: str, stored: str = "float32") -> Gate:
    """The engine's log-probabilities of the unquantized model against plain Transformers in float32.

    A short text, two long contexts that begin alike and a long one alone: what an engine shares between requests, and
    attention that sees a window alone, show in the long ones. All are asked for together.

    The tolerance, in nats, belongs to the type that the engine computes in (`dtype`);
    where rounding alone moves plain Transformers by more than half of it, it is twice that. To it comes twice what
    rounding the weights to the type that they are `stored` in does.
    """
    ids, items = reference["golden_ids"], reference["long_items"]
    pairs = [Pair(tuple(ids[:1]), tuple(ids[1:]))]
    pairs += [Pair(tuple(item["context"]), tuple(item["continuation"])) for item in items]
    expected = [reference["golden_logprobs"], *(item["logprobs"] for item in items)]
    differences = [
        abs(measured - wanted)
        for scored, line in zip(score(endpoint, pairs), expected, strict=True)
        for measured, wanted in zip(scored.logprobs, line, strict=True)
    ]
    worst = max(difference if math.isfinite(difference) else math.inf for difference in differences)
    tolerance = _golden_tolerance(reference["rounding_nats"], dtype, stored)
    detail = (
        f"log-probabilities differ from the float32 reference by at most {worst:.1e} nats (allowed {tolerance:.2g})"
    )
    return Gate("golden prompt", worst <= tolerance, detail)


def _golden_tolerance(rounding: Mapping[str, Mapping[str, float]], dtype: str, stored: str) -> float:
    """In nats; a server that does not say what it computes in gets the widest of the types' own."""
    computed, rounded = (
        {name: 2 * kinds.get(kind, 0.0) for name, kinds in rounding.items()} for kind in ("computed", "stored")
    )
    own = max(GOLDEN_TOLERANCE.get(dtype, max(GOLDEN_TOLERANCE.values())), computed.get(dtype, 0.0))
    return own if dtype == stored else own + rounded.get(stored, 0.0)  # computing in a type rounds the weights to it


def sanity(endpoint: Endpoint, reference: Mapping[str, Any]) -> Gate:
    """Perplexity of a short text within SANITY_FACTOR of the unquantized model's, and a greedy answer that varies."""
    ids = reference["sanity_ids"]
    measured = list(score(endpoint, [Pair(tuple(ids[:1]), tuple(ids[1:]))])[0].logprobs)
    perplexity = math.exp(-sum(measured) / len(measured)) if all(map(math.isfinite, measured)) else math.inf
    expected = math.exp(-sum(reference["sanity_logprobs"]) / len(reference["sanity_logprobs"]))
    answer = _greedy(endpoint, reference["golden_ids"], len(reference["greedy_ids"]))
    varied = not _repeats(answer, len(reference["greedy_ids"])) or len(set(reference["greedy_ids"])) == 1
    detail = (
        f"perplexity of a short text {perplexity:.2f}, unquantized {expected:.2f} (allowed up to {SANITY_FACTOR:g}×); "
        f"greedy answer {'has different tokens' if varied else 'repeats one token'}"
    )
    return Gate("sanity", perplexity <= SANITY_FACTOR * expected and varied, detail)


def greedy_answer(endpoint: Endpoint, reference: Mapping[str, Any], expected: str | None) -> Gate:
    """All that can be asked of a server without log-probabilities: its greedy answer varies, and the unquantized
    model's begins as the reference's (`expected`, its text) does. Weaker than the golden prompt, and says so.
    """
    answer = _greedy(endpoint, reference["golden_ids"], len(reference["greedy_ids"]))
    varied = not _repeats(answer, len(reference["greedy_ids"])) or len(set(reference["greedy_ids"])) == 1
    begins = expected is None or _beginning(answer) == _beginning(expected)
    detail = f"answers {' '.join(answer.split())[:60]!r}"
    if expected is not None:
        detail += f", the float32 reference {expected[:60]!r}"
    return Gate("greedy answer", varied and begins, f"{detail}; this server gives no log-probabilities to compare")


def whole_contexts(cut: int, requests: int, window_tokens: int) -> Gate:
    """A question that lost its beginning is another question. Few may: the rest still tells."""
    detail = f"{cut} of {requests} requests were cut to the window of {window_tokens} tokens"
    return Gate("whole contexts", cut <= TOLERATED_SHARE * requests, detail)


def apart_from_calibration(shared: int, requests: int) -> Gate:
    """A checkpoint must not be scored on what calibrated it."""
    detail = f"{shared} of {requests} requests hold {RUN_TOKENS} tokens in a row of the calibration text"
    return Gate("apart from calibration", shared <= TOLERATED_SHARE * requests, detail)


def apart_from_source_grid(source: Path, folder: Path, checkpoint_format: str, scheme: Scheme) -> Gate:
    """Rounding to the very grid that the source's weights lie on already loses nothing on this model alone."""
    grid = find_grid(source)
    if grid is None:
        return Gate(SOURCE_GRID, True, "the source's weights are not seen to lie on a grid")
    detail = f"the source's weights lie on a grid of {grid}"
    if scheme.unquantized:
        return Gate(SOURCE_GRID, True, f"{detail}: other roundings add to its error, the same one adds none")
    compared = shares_grid(source, folder, checkpoint_format, scheme)
    if compared is None or not compared.shared:
        return Gate(SOURCE_GRID, True, f"{detail}; {compared.detail}" if compared else detail)
    return Gate(SOURCE_GRID, False, f"shares its source's grid: {detail}, and {compared.detail}")


def require(gate: Gate) -> Gate:
    """`gate` itself if it passed. Raises GateFailed."""
    if not gate.passed:
        raise GateFailed(f"gate '{gate.name}' failed: {gate.detail}")
    return gate


def _greedy(endpoint: Endpoint, ids: Sequence[int], count: int) -> str:
    body = completion_body(endpoint, ids, count, ignore_eos=True, stream=False)
    url = endpoint.url + completion_path(endpoint.dialect, stream=False)
    answer = request("POST", url, endpoint.headers, seconds=endpoint.limits.request_seconds, json=body)
    answer.raise_for_status()
    return completion_text(endpoint.dialect, json_of(answer))


def _repeats(answer: str, tokens: int) -> bool:
    """True where an answer of so many tokens is one of them over and over; many languages put no spaces in a sentence.

    A server that does not know `ignore_eos` may give fewer, so equal words or characters alone say so, too.
    """
    words, letters = answer.split(), "".join(answer.split())
    if len(set(letters)) < 2:
        return len(letters) != 1
    if len(words) > 1 and len(set(words)) == 1:
        return True
    return letters == letters[: len(letters) // tokens] * tokens


def _beginning(answer: str) -> str:
    """The first word, or the first letter of a script without upper and lower case: many such have no spaces."""
    word = next(iter(answer.split()), "")
    return word[:1] if unicodedata.category(word[:1] or " ") == "Lo" else word
