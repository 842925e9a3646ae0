"""Every sentence of an answer, once: Python fills them in here, the page's script fills in the same ones."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

WORDS = {
    # verdicts
    "baseline": "the unquantized baseline",
    "memory": "needed memory in GiB",
    "recovery": "accuracy recovered",
    "perplexity": "perplexity ratio",
    "kl": "KL divergence",
    "against": "{name} against {reference}",
    "at_least": "{name} {value} [{low}, {high}], at least {limit}",
    "at_most": "{name} {value} [{low}, {high}], at most {limit}",
    "memory_unseen": "its memory was not measured",
    "not_scored": "its accuracy was not measured: the engine gives no log-probabilities",
    "no_baseline": "no baseline was measured in this engine to compare with",
    "nothing_recovered": "accuracy is not comparable: the baseline answers next to nothing right",
    "no_upper_bound": "no upper bound",
    "scored_elsewhere": "{why}; the same checkpoint was scored in '{name}'",
    "engine_fails": "engine {engine} itself loses accuracy: {why} (unquantized, against {reference})",
    "engine_undecided": "whether engine {engine} itself loses accuracy is inconclusive: {why} (unquantized, against "
    "{reference})",
    "engine_unknown": "whether engine {engine} itself loses accuracy is not known: unquantized, it has no scored items "
    "in common with {reference}",
    # what an aim asks for
    "slo": "the SLO",
    "cost": "the cost limit",
    "and": "{first} and {second}",
    "no_load": "it meets {asks} under no load",
    "no_mix": "it meets {asks} under no such mix of loads",
    # no answer
    "no_answer": "no answer: {why}",
    "no_answer_of": "no answer for {model}: {why}",
    "no_answer_yet": "no recommendation yet: {why}",
    "no_answer_yet_of": "no recommendation yet for {model}: {why}",
    "none_serves": "no cell meets {asks}",
    "none_known": "no cell that may meet the limits has a figure for: {title}",
    "none_allowed": "no measured cell meets the limits",
    "not_yet": "{name} would be first, but it is not certain enough that it meets all that is asked for "
    "(probability at least {kept}; {least} is needed): {why}",
    "asked_inconclusive": "whether it meets {asks} is inconclusive; {missing}",
    # caveats
    "limits_inconclusive": "whether {name} meets the limits is inconclusive (probability {kept}): {why}; score more "
    "items",
    "slo_inconclusive": "whether {name} meets {asks} is inconclusive (probability {kept}); {missing}",
    "none_shown": "no quantization is shown to be better; {name} may be",
    "devices_unknown": "on how many devices it ran is not known",
    "more_requests": "measure more requests and repeats",
    "of_load": "of {name} at {load}: {warning}",
    "slow_path": "{name} ran on a slow path: {warning}",
    "devices": "it ran on {count} devices and gave {rate} output tokens/s on each; {other}, on {others}, gave {most}",
    "close": "its {figure} {unit} is not significantly different from that of {names} (95 % interval of the ratio)",
    "close_name": "{name} ({figure})",
    "more_names": "{names} and {count} more",
    # not a caveat: a better figure of a cell in doubt
    "alternative": "or, if the quality of {name} is acceptable, {name} {gain}",
    "alternative_asked": "or, if {name} meets all that is asked for (probability at least {kept}), {name} {gain}",
}


def say(sentence: str, /, **values: object) -> str:
    """A sentence of the table, filled in."""
    return WORDS[sentence].format(**values)


def fixed(value: float, digits: int) -> str:
    """As JavaScript's `toFixed` rounds: a half goes away from zero. Of nine digits, which is what the page has."""
    if not math.isfinite(value):
        return str(value)
    return str(Decimal(float(f"{value:.9g}")).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def significant(value: float) -> str:
    """Three significant digits, without zeros at the end."""
    return f"{float(f'{value:.3g}'):g}"


def percent_text(share: float) -> str:
    """A share in percent: one decimal below ten."""
    percent = 100 * share
    return fixed(percent, 1 if percent < 10 else 0)
