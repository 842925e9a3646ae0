"""Any server that speaks OpenAI's completions: attached to by its address, and asked what it can do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engines.bounded_http import json_of, request
from engines.redaction import excerpt
from engines.registry import engine
from engines.runtime.process import ProcessFailed
from engines.types import NEUTRAL_SAMPLING, ChunkTokens, Device, Dialect, Launch, PromptLogprobs, Serving
from quant.types import Scheme

PROMPT = [40, 41, 42]  # ids that every vocabulary has
TEXT = "The capital of France is"
TIMEOUT_SECONDS = 120.0


def unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Mapping[str, Any]) -> str | None:
    """What it loads is known to whoever started it."""
    return None


class Asking:
    """Short requests to one server. Raises httpx.HTTPError where it is gone."""

    def __init__(self, url: str, headers: Mapping[str, str], dialect: Dialect) -> None:
        self._url, self._headers = url + dialect.completions, headers
        self._body = {"model": dialect.model, "prompt": PROMPT, "max_tokens": 1, "temperature": 0}

    def answer(self, **fields: Any) -> Any:
        """The answer's JSON, or the HTTP status with the server's words where it refuses."""
        answer = request("POST", self._url, self._headers, seconds=TIMEOUT_SECONDS, json=self._body | fields)
        return json_of(answer) if answer.status_code == 200 else f"{answer.status_code}: {excerpt(answer.text)}"

    def events(self, **fields: Any) -> list[dict[str, Any]]:
        """The events of a stream of four tokens; none where the server refuses."""
        body = self._body | {"max_tokens": 4, "stream": True} | fields
        answer = request("POST", self._url, self._headers, seconds=TIMEOUT_SECONDS, json=body)
        lines = [line.removeprefix("data:").strip() for line in answer.text.split("\n") if line.startswith("data:")]
        return [json.loads(line) for line in lines if line != "[DONE]"] if answer.status_code == 200 else []


def probe(url: str, headers: Mapping[str, str], dialect: Dialect) -> tuple[Dialect, str]:
    """What this server can do: short requests, and whether their answers hold what was asked for.

    Raises ProcessFailed where it completes nothing, or does not count the tokens of a prompt.
    """
    asking = Asking(url, headers, dialect)
    if _counted(asking.answer()) != len(PROMPT):
        return _text_alone(url, asking, dialect)
    by, labels = _prompt_logprobs(asking)
    ignore_eos = isinstance(asking.answer(ignore_eos=True, max_tokens=2), dict)
    chunks, fields = _chunk_tokens(asking)
    neutral = NEUTRAL_SAMPLING if isinstance(asking.answer(**NEUTRAL_SAMPLING), dict) else {}
    several = asking.answer(prompt=[PROMPT, PROMPT])
    lists = isinstance(several, dict) and len(several.get("choices") or []) == 2
    detected = replace(
        dialect,
        prompt_lists=lists,
        prompt_logprobs=by,
        label_logprobs=labels,
        ignore_eos=ignore_eos,
        chunk_tokens=chunks,
        request_fields={**fields, **neutral},
    )
    words = [
        "prompts of token ids" + (", several a request" if lists else ""),
        f"prompt log-probabilities: {by}" + (" and logprob_token_ids" if labels else ""),
        "ignore_eos" if ignore_eos else "no ignore_eos",
        f"tokens of a chunk: {chunks}",
    ]
    return detected, "; ".join(words)


def _counted(answer: Any) -> int:
    """Tokens of the prompt by the server's count; 0 where it told none."""
    return int((answer.get("usage") or {}).get("prompt_tokens") or 0) if isinstance(answer, dict) else 0


def _text_alone(url: str, asking: Asking, dialect: Dialect) -> tuple[Dialect, str]:
    """A server that takes no token ids: its speed can be measured, by texts whose tokens it counts as we do."""
    answer = asking.answer(prompt=TEXT)
    if isinstance(answer, str):
        raise ProcessFailed(f"{url} completes nothing ({answer})", kind="unreachable-server")
    if not _counted(answer):
        message = f"{url} takes no token ids and does not count the tokens of a text"
        raise ProcessFailed(message, kind="wrong-token-counts")
    ignore_eos = isinstance(asking.answer(prompt=TEXT, ignore_eos=True, max_tokens=2), dict)
    text_only = replace(dialect, prompts="text", prompt_logprobs="none", ignore_eos=ignore_eos, chunk_tokens="one")
    return text_only, f"prompts of text alone; no prompt log-probabilities; {'' if ignore_eos else 'no '}ignore_eos"


def _prompt_logprobs(asking: Asking) -> tuple[PromptLogprobs, bool]:
    """How it gives log-probabilities of a prompt, and whether of named next tokens too."""
    native = _choice(asking.answer(prompt_logprobs=0)).get("prompt_logprobs")
    if isinstance(native, list) and len(native) == len(PROMPT) and str(PROMPT[1]) in (native[1] or {}):
        wanted = {"logprobs": 0, "logprob_token_ids": PROMPT, "return_tokens_as_token_ids": True}
        tops = (_choice(asking.answer(**wanted)).get("logprobs") or {}).get("top_logprobs") or [{}]
        return "prompt_logprobs", all(f"token_id:{token}" in tops[0] for token in PROMPT)
    logprobs = (_choice(asking.answer(echo=True, logprobs=1)).get("logprobs") or {}).get("token_logprobs") or []
    return ("echo" if len(logprobs) in (len(PROMPT), len(PROMPT) + 1) and logprobs[0] is None else "none"), False


def _chunk_tokens(asking: Asking) -> tuple[ChunkTokens, dict[str, Any]]:
    """How a chunk tells the tokens so far, and the fields that make it do so."""
    usage = {"include_usage": True, "continuous_usage_stats": True}
    with_text = [event for event in asking.events(stream_options=usage) if event.get("choices")]
    if with_text and all((event.get("usage") or {}).get("completion_tokens") for event in with_text):
        return "usage", {}
    timed = [event for event in asking.events(timings_per_token=True) if event.get("choices")]
    if timed and all("predicted_n" in (event.get("timings") or {}) for event in timed):
        return "timings", {"timings_per_token": True}
    return "one", {}


def _choice(answer: Any) -> dict[str, Any]:
    choices = answer.get("choices") if isinstance(answer, dict) else None
    return dict(choices[0]) if choices else {}


@engine(
    "openai",
    environments={},
    dialect=Dialect(prompt_logprobs="echo", chunk_tokens="one", metrics=None, health="/v1/models"),
    unsupported=unsupported,
    probe=probe,
)
def openai(serving: Serving) -> Launch:
    """Any OpenAI-compatible server that runs already (`attach:`), asked first what it can do."""
    message = f"a server for {serving.checkpoint} must run already: give its address by `attach:`"
    raise ProcessFailed(message, kind="unreachable-server")
