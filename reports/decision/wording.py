"""Sentences of the table of rules, filled in, and their numbers as text: the page's script does the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from reports.decision.rules import DIGITS, WORDS


def say(sentence: str, /, **values: object) -> str:
    """A sentence of the table, filled in."""
    return fill(WORDS[sentence], values)


def fill(words: str, values: Mapping[str, Any]) -> str:
    """Words with their figures."""
    return words.format_map(values)


def mix_label(loads: Sequence[str]) -> str:
    """One load by its name, several as the mix that they are."""
    return loads[0] if len(loads) == 1 else say("mix", count=len(loads))


def fixed(value: float, kind: str) -> str:
    """With as many digits as the table has for this kind of number. As JavaScript's `toFixed` rounds: a half goes away
    from zero. Of nine digits, which is what the page has.
    """
    if not math.isfinite(value):
        return str(value)
    return str(Decimal(float(f"{value:.9g}")).quantize(Decimal(1).scaleb(-DIGITS[kind]), ROUND_HALF_UP))


def significant(value: float) -> str:
    """Significant digits, without zeros at the end."""
    digits = DIGITS["significant"]
    return f"{float(f'{value:.{digits}g}'):g}"


def percent_text(share: float) -> str:
    """A share in percent: one decimal below ten."""
    percent = 100 * share
    return fixed(percent, "percent" if percent < 10 else "percents")


def verdict_text(verdict: str, probability: float) -> str:
    """A verdict, with how likely all limits are kept where that is not known."""
    return say("probably", probability=fixed(probability, "probability")) if verdict == "inconclusive" else verdict
