"""Finished results that are not what would be measured now, and why: the inputs of their parts are compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from evals.schema.trial import Trial
from evals.schema.trial_file import read_trial

NO_INPUTS = "it was measured by a version that did not record its key"
Inputs = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class StaleResult:
    """A finished trial whose cell would be measured again: why, and which of its parts."""

    file: Path
    trial: Trial
    reasons: tuple[str, ...]
    parts: tuple[str, ...]

    @property
    def line(self) -> str:
        """In a sentence, for plan and sweep."""
        return f"stale: {self.trial.name}: {'; '.join(self.reasons)} (measures again: {', '.join(self.parts)})"


def find_stale(
    trials: Path, slug: str, wanted: Inputs, current: Collection[str], is_of_cell: Callable[[Trial], bool]
) -> StaleResult | None:
    """The finished trial of a cell that is nearest to what is `wanted` (inputs by part, "server" are those of all) and
    differs from it; None where there is none. `current` are the names of files that are other cells' present results;
    names of files are cut, so `is_of_cell` tells a trial from other cells'.
    """
    results = []
    for file in sorted(trials.glob(f"{slug}-*.json")):
        if file.name not in current and re.fullmatch(rf"{re.escape(slug)}-[0-9a-f]{{12}}", file.stem):
            trial = read_trial(file)
            if trial.status == "ok" and is_of_cell(trial):
                results.append(_compare(file, trial, wanted))
    stale = [result for result in results if result.reasons]
    return min(stale, key=lambda result: len(result.reasons), default=None) if len(stale) == len(results) else None


def _compare(file: Path, trial: Trial, wanted: Inputs) -> StaleResult:
    if not trial.parts:
        return StaleResult(file, trial, (NO_INPUTS,), tuple(name for name in wanted if name != "server"))
    shared = differences(trial.inputs.get("server", {}), wanted.get("server", {}))
    own = {name: differences(trial.inputs[name], wanted[name]) for name in wanted if name in trial.parts}
    parts = [name for name, changes in own.items() if changes or shared]
    reasons = dict.fromkeys([*shared, *(change for changes in own.values() for change in changes)])
    return StaleResult(file, trial, tuple(reasons), tuple(parts))


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """`MEASUREMENT_VERSION 3 → 4` for each input that differs."""
    names = dict.fromkeys([*now, *before])
    return [
        f"{name} {_short(before.get(name))} → {_short(now.get(name))}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _short(text: str | None) -> str:
    """A digest's beginning tells it from another one."""
    return "none" if text is None else re.sub(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b", r"\1", text)[:80]
