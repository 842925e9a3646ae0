"""Recorded arrivals: when requests came, how many tokens they had, and what of their prompts was the same.

By suffix, `.csv` is Azure's LLM inference trace (https://github.com/Azure/AzurePublicDataset): TIMESTAMP (a date with
its time), ContextTokens, GeneratedTokens. All else is the JSONL of the Mooncake traces
(https://github.com/kvcache-ai/Mooncake, FAST25-release), which AIPerf reads as `mooncake_trace`:
`timestamp` in milliseconds, `input_length`, `output_length`, and `hash_ids`, one for each 512 tokens of the prompt.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

from evals.data.local_root import DataError
from quant.canonical_json import open_regular
from quant.errors import reading

BLOCK_TOKENS = 512
MOST_TRACE_BYTES = 2**32
MOST_TOKENS = 10**9
MOST_MILLISECONDS = 2**53  # since when clocks count, and so exact in floating point


@dataclass(frozen=True)
class TraceRequest:
    """One request of a trace, at this line of its file. Seconds count from whatever the trace counts from.

    `blocks` are the ids of its prompt's blocks of BLOCK_TOKENS, the last of which may be cut: equal ids are equal
    tokens. Empty where the trace tells none.
    """

    line: int
    at_seconds: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens


def read_trace(file: Path, most: int | None = None) -> tuple[TraceRequest, ...]:
    """The first `most` requests (all by default), ordered by time. Raises DataError naming file and line."""
    read = _azure if file.suffix.lower() == ".csv" else _mooncake
    requests: list[TraceRequest] = []
    with (
        reading(file, DataError, "Give a trace of Mooncake's form (JSONL) or Azure's (CSV)"),
        TextIOWrapper(open_regular(file, MOST_TRACE_BYTES), encoding="utf-8-sig", newline="") as lines,
    ):
        for request in islice(read(file, lines), most):
            if requests and request.at_seconds < requests[-1].at_seconds:
                raise DataError(f"{file}:{request.line}: it is earlier than the request above; sort the trace by time")
            requests.append(request)
    if not requests:
        raise DataError(f"{file} has no requests")
    return tuple(requests)


def _mooncake(file: Path, lines: Iterable[str]) -> Iterator[TraceRequest]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            at, counts = row["timestamp"], (row["input_length"], row["output_length"])
            blocks = row.get("hash_ids") or []
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            wanted = '"timestamp", "input_length" and "output_length"'
            raise DataError(f"{file}:{number}: not a line of JSON with {wanted}") from error
        if type(at) not in (int, float) or not 0 <= abs(at) <= MOST_MILLISECONDS:
            raise DataError(f"{file}:{number}: its timestamp is {at!r:.60}; give milliseconds")
        yield _request(file, number, at / 1000, counts, blocks)


def _azure(file: Path, lines: Iterable[str]) -> Iterator[TraceRequest]:
    rows = csv.DictReader(lines)
    if any(";" in name for name in rows.fieldnames or ()):  # Excel, where the comma is the decimal sign
        raise DataError(f"{file}:1: semicolons separate its columns; save it with commas")
    for row in rows:
        try:
            at = datetime.fromisoformat(row["TIMESTAMP"])
            counts = (int(row["ContextTokens"]), int(row["GeneratedTokens"]))
        except (ValueError, KeyError, TypeError) as error:
            wanted = "TIMESTAMP, ContextTokens and GeneratedTokens"
            raise DataError(f"{file}:{rows.line_num}: not a row of {wanted} under a line with these names") from error
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        yield _request(file, rows.line_num, seconds, counts, [])


def _request(file: Path, line: int, at_seconds: float, counts: tuple[Any, Any], blocks: Any) -> TraceRequest:
    for name, count in zip(("prompt", "output"), counts, strict=True):
        if type(count) is not int or count < 1:
            raise DataError(f"{file}:{line}: it has {count!r:.40} {name} tokens; at least one is needed")
        if count > MOST_TOKENS:
            raise DataError(f"{file}:{line}: it has over {MOST_TOKENS} {name} tokens; no model takes as many")
    if not isinstance(blocks, list) or any(type(block) is not int or block < 0 for block in blocks):
        raise DataError(f"{file}:{line}: its hash_ids are not a list of whole numbers")
    if blocks and len(blocks) != math.ceil(counts[0] / BLOCK_TOKENS):
        message = f"{len(blocks)} hash_ids for {counts[0]} prompt tokens; one is needed for each {BLOCK_TOKENS}"
        raise DataError(f"{file}:{line}: it has {message}")
    return TraceRequest(line, at_seconds, *counts, tuple(blocks))


def known_share(trace: Sequence[TraceRequest]) -> float:
    """Of all prompt tokens, those with which an earlier prompt began too, block by block: what an endless prefix cache
    would know.
    """
    seen: dict[int, int] = {}  # of each beginning, how many tokens of it there were
    known = 0
    for request in trace:
        beginning, shared, is_known = 0, 0, True
        for number, block in enumerate(request.blocks, 1):
            beginning, tokens = hash((beginning, block)), min(number * BLOCK_TOKENS, request.prompt_tokens)
            is_known = is_known and beginning in seen
            shared = min(seen[beginning], tokens) if is_known else shared
            seen[beginning] = max(seen.get(beginning, 0), tokens)
        known += shared
    return known / sum(request.prompt_tokens for request in trace)
