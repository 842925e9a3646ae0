"""A part of a cell's measurement, finished on its own: one load, one search, one task, one text, one set of prompts.

A cell that is killed goes on with the parts that it has, and a plan with another task measures that task alone. What is
read by reports is the trial that all parts of a cell make together.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from engines.types import ATTACHED_SERVER
from evals.schema.accuracy import Perplexity, Predictions, Score
from evals.schema.load import Speed
from evals.schema.migrate import SCHEMA_VERSION, NewerSchema, migrate_part
from evals.schema.slo import SLO, Search, SearchRange
from evals.schema.trial import Gate, Memory
from evals.schema.trial_file import MOST_RESULT_BYTES
from quant.canonical_json import READ_LATER, read_regular, write_json

logger = logging.getLogger(__name__)

GATES = "gates"  # the name of the part with what is known of the server


@dataclass(frozen=True)
class Part:
    """`inputs` are all that decided it, as short texts or digests, and `key` is their digest.

    `measured` says when, where and at which server that somebody else runs, `seconds` how long it took. Of a task or
    text, `requests` were asked, `cut` of them to the window, and `calibrated` hold a run of the calibration text.
    Fields that are not its own are empty.
    """

    key: str
    name: str
    inputs: Mapping[str, str]
    measured: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    gates: tuple[Gate, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    startup_seconds: float | None = None
    checkpoint: Mapping[str, Any] | None = None
    speed: tuple[Speed, ...] = ()
    memory: Memory | None = None
    searches: tuple[Search, ...] = ()
    scores: tuple[Score, ...] = ()
    perplexities: tuple[Perplexity, ...] = ()
    predictions: tuple[Predictions, ...] = ()
    requests: int = 0
    cut: int = 0
    calibrated: int = 0
    schema_version: int = SCHEMA_VERSION

    @property
    def attached_server(self) -> str | None:
        """What the server that somebody else runs said of itself; None for ours, and where it said nothing."""
        return self.measured.get(ATTACHED_SERVER) or None


PARTS = TypeAdapter(Part)


def part_file(key: str) -> str:
    """What a part's file is called in its folder, so that nobody searches for it."""
    return f"{key[:32]}.json"


def save_part(folder: Path, part: Part) -> Part:
    """Write it whole, at once."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / part_file(part.key), part, compact=True)
    return part


def find_part(folder: Path, key: str) -> Part | None:
    """The finished part of this key, of this or an older version of the schema; None where it is not there, or damaged.
    Raises NewerSchema, naming the file, and OSError where it cannot be read now.
    """
    for file in (folder / part_file(key), *_named_by_cell(folder).get(key[:12], ())):
        try:
            raw = json.loads(read_regular(file, MOST_RESULT_BYTES))
            if raw.get("key") == key:
                return PARTS.validate_python(migrate_part(raw), strict=False)
        except FileNotFoundError:
            continue
        except NewerSchema as error:
            raise NewerSchema(f"{file}: {error}") from None
        # pydantic's errors are ValueErrors; a step of an old version finds a field missing, or of another type
        except (OSError, ValueError, RecursionError, AttributeError, LookupError, TypeError) as error:
            if isinstance(error, OSError) and error.errno in READ_LATER:
                raise  # measured anew, it would be lost
            logger.warning("%s is damaged and counts as missing: %s", file, error)
    return None


def finished_parts(folder: Path, keys: Sequence[str]) -> list[Part] | None:
    """All parts of a cell; None where one is missing, or where they are of several servers behind one address."""
    parts = [part for key in keys if (part := find_part(folder, key)) is not None]
    return parts if len(parts) == len(keys) and len({part.attached_server for part in parts}) == 1 else None


@cache  # nothing writes such names any more
def _named_by_cell(folder: Path) -> Mapping[str, Sequence[Path]]:
    """Files of older programs, CELL-KEY.json, by the 12 digits of the key that were in their names."""
    named: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*-????????????.json")):
        named.setdefault(file.stem[-12:], []).append(file)
    return named


def joined_memory(parts: Sequence[Memory]) -> Memory | None:
    """What a server held over all its loads: after loading and at most; samples of one load after the other."""
    if not parts:
        return None
    samples: list[tuple[float, int]] = []
    for memory in parts:
        begin = samples[-1][0] if samples else 0.0
        samples += [(begin + seconds, size) for seconds, size in memory.samples]
    last = parts[-1]
    held = [memory.kv_cache_bytes for memory in parts if memory.kv_cache_bytes is not None]
    return Memory(
        source=last.source,
        loaded_bytes=min(memory.loaded_bytes for memory in parts),
        peak_bytes=max(memory.peak_bytes for memory in parts),
        weights_bytes=last.weights_bytes,
        kv_cache_bytes=max(held, default=None),
        kv_source=last.kv_source,
        kv_bytes_per_token=last.kv_bytes_per_token,
        kv_token_source=last.kv_token_source,
        samples=tuple(samples),
    )


def joined_searches(searches: Sequence[Search]) -> tuple[Search, ...]:
    """Each search with what a fresh session confirmed of it, which is measured as a part of its own."""
    joined: dict[tuple[SearchRange, SLO], Search] = {}
    for search in searches:
        before = joined.get((search.within, search.limits), replace(search, probes=(), confirmed=()))
        probes, confirmed = before.probes + search.probes, before.confirmed + search.confirmed
        joined[search.within, search.limits] = replace(search, probes=probes, confirmed=confirmed)
    return tuple(joined.values())


def joined_speeds(first: Sequence[Speed], later: Mapping[int, Sequence[Speed]]) -> tuple[Speed, ...]:
    """Each load of the first visit with its repeats in later ones, by rounds; GPUs of the visits that tell them."""
    joined = []
    for speed in first:
        visits = {1: speed.of_round(1)}
        visits |= {number: again for number, speeds in later.items() for again in speeds if again.load == speed.load}
        if len(visits) == 1:
            joined.append(visits[1])
            continue
        parts = [visits[number] for number in sorted(visits) if visits[number].repeats]  # a control has no first visit
        joined.append(
            replace(
                speed,
                repeats=tuple(repeat for part in parts for repeat in part.repeats),
                clients=tuple(client for part in parts for client in part.clients),
                gpus=tuple(gpus for part in parts for gpus in part.gpus or [()] * len(part.repeats))
                if any(part.gpus for part in parts)
                else (),
                rounds=tuple(number for number in sorted(visits) for _ in visits[number].repeats),
            )
        )
    return tuple(joined)
