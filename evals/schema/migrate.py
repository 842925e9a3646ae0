"""Files of older programs in today's words: what JSON of a trial, a part or a run was called before, and is called now.

One function a version, each from the version before; `tests/evals/schema/golden` has a file of every version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quant.errors import BitfrontierError, FailureKind

SCHEMA_VERSION = 3
FIRST_WITH_PARTS = 3

Record = dict[str, Any]

LOAD_NAMES = {
    "gap_variation": "arrival_cv",
    "shared_tokens": "shared_prefix_tokens",
    "spread": "target_relative_ci",
    "most_repeats": "max_repeats",
}
SCORE_NAMES = {"shots": "num_fewshot", "leads": "margins"}
RUN_DEFAULTS: Record = {
    "accuracy": {"budget": "full", "error_rate": 0.05, "chat_template": False},  # what the first programs did
    "price": None,
    "slo": None,
}
# what kinds were called in trial files of schema versions 1 and 2
OLD_KINDS: Mapping[str, FailureKind] = {
    "full disk": "full-disk",
    "out of memory": "out-of-memory",
    "missing environment": "missing-environment",
    "broken environment": "broken-environment",
    "port taken": "port-taken",
    "unreadable checkpoint": "unreadable-checkpoint",
    "worker lost": "worker-lost",
    "hang": "timeout",
    "crash of our server": "reference-server-crash",
    "crash in mid-stream": "crash-in-use",
    "crash at start": "crash-at-start",
    "wrong token counts": "wrong-token-counts",
    "garbage output": "garbage-output",
    "method failed": "method-failed",
    "other": "other",
}
NO_TOKENS = "perplexities of schema 1 were sums over windows, without the tokens' own: they are left out"


class NewerSchema(BitfrontierError):
    """A file was written by a newer program; the message says which, and what to do."""

    exit_code = 2


def migrate_trial(raw: Mapping[str, Any]) -> Record:
    """A trial's JSON as version SCHEMA_VERSION writes it. Raises NewerSchema, without the file's name."""
    return _migrate(dict(raw), _version(raw, default=1), TRIAL_STEPS)


def migrate_run(raw: Mapping[str, Any]) -> Record:
    """The JSON of `sweep.json` likewise. Before version 3 it had no version. Raises NewerSchema."""
    return _migrate(dict(raw), _version(raw, default=2), RUN_STEPS)


def migrate_part(raw: Mapping[str, Any]) -> Record:
    """The JSON of a trial's part likewise: it is what a sweep goes on with, so its versions cost measuring again."""
    return _migrate(dict(raw), _version(raw, default=FIRST_WITH_PARTS), PART_STEPS)


def _version(raw: Mapping[str, Any], default: int) -> int:
    version = raw.get("schema_version", default)
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise NewerSchema(
            f"schema version {version} is newer than this program's ({SCHEMA_VERSION}). Read it with the program that "
            "wrote it, or a newer one"
        )
    return version


def _migrate(raw: Record, version: int, steps: Mapping[int, Callable[[Record], Record]]) -> Record:
    while version < SCHEMA_VERSION:
        raw = steps[version](raw)
        version = raw["schema_version"]
    return raw


def _trial_2(raw: Record) -> Record:
    """Perplexities had no tokens of their own, which every interval is computed from."""
    migrated = {**raw, "perplexities": [], "schema_version": 2}
    if raw.get("perplexities"):
        migrated["facts"] = {**raw.get("facts", {}), "migrated": NO_TOKENS}
    return migrated


def _trial_3(raw: Record) -> Record:
    """Loads, scores, predictions and searches have the plan's words."""
    migrated = {name: value for name, value in raw.items() if name != "closeness"}
    if failure := raw.get("failure"):
        migrated["failure"] = {**failure, "kind": OLD_KINDS.get(failure["kind"], failure["kind"])}
    searches = [{**search, "probes": [_speed_3(p) for p in search["probes"]]} for search in raw.get("searches", [])]
    return migrated | {
        "speed": [_speed_3(speed) for speed in raw.get("speed", [])],
        "searches": searches,
        "scores": [renamed(score, SCORE_NAMES) for score in raw.get("scores", [])],
        "predictions": raw.get("closeness", []),
        "schema_version": 3,
    }


def _speed_3(speed: Record) -> Record:
    return {**speed, "load": renamed(speed["load"], LOAD_NAMES)}


def _run_3(raw: Record) -> Record:
    migrated = RUN_DEFAULTS | renamed(raw, {"service": "slo"}) | {"schema_version": 3}
    if price := raw.get("price"):
        migrated["price"] = renamed(price, {"most_per_million": "max_cost_per_million_tokens"})
    return migrated


def renamed(record: Record, names: Mapping[str, str]) -> Record:
    """The record with new keys in place of old ones."""
    return {names.get(name, name): value for name, value in record.items()}


Steps = Mapping[int, Callable[[Record], Record]]
# from each version to the next one: whoever raises SCHEMA_VERSION adds an entry to all three
TRIAL_STEPS: Steps = {1: _trial_2, 2: _trial_3}
RUN_STEPS: Steps = {1: _run_3, 2: _run_3}
PART_STEPS: Steps = {}
