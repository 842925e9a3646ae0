"""Figures as text: what an estimate, a share or a size looks like on the page, in the terminal and in the docs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup, escape

from evals.schema.slo import SLO
from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from quant.errors import counted
from quant.types import CALIBRATION_WARNING
from reports.decision.ranking import place_of
from reports.decision.recommend import Answer
from reports.decision.what_decides import Deciding
from reports.metrics.cell import GIB
from reports.metrics.needed_memory import needed_memory
from reports.sections.durations import ForecastError, Spent

MOST_UNEVEN = 4 / 3  # of the sides of an interval, one to the other, that ± stands for


def times(value: float | None) -> str:
    """A ratio."""
    return "–" if value is None else number(value)


def share(value: float | None) -> str:
    """Of draws, in percent, no finer than they tell."""
    if value is None:
        return "–"
    return f"{100 * value:.0f} %" if 0.01 <= value <= 0.99 or value in (0, 1) else f"{100 * value:.1f} %"


def gib(value: float | None) -> str:
    return "–" if value is None else f"{value / GIB:.2f}"


def calibration_note(trial: Trial) -> str:
    """What was wrong with the calibration of its checkpoint; empty where nothing was."""
    warnings = (trial.checkpoint or {}).get("warnings")
    texts = [text for text in warnings if isinstance(text, str)] if isinstance(warnings, list | tuple) else []
    return "; ".join(text for text in texts if text.startswith(CALIBRATION_WARNING))


def needed_gib(trial: Trial) -> str:
    """With its bounds where they are not one."""
    needed = needed_memory(trial)
    if needed is None:
        return "–"
    value, low, high = needed.gib.value, needed.gib.low, needed.gib.high
    if low < value < high:
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"
    return f"{value:.2f}" if low == high else f"{low:.2f} to {high:.2f}"


def kib(value: float) -> str:
    return f"{value / 1024:.1f}"


def milliseconds(value: float | None) -> str:
    return f"{1000 * value:.0f}" if value is not None and math.isfinite(value) else "–"


def milliseconds_sure(estimate: Estimate | None) -> str:
    """With a star where its interval has no upper end: so few values say little of rarer ones."""
    if estimate is None:
        return "–"
    return milliseconds(estimate.value) + ("*" if math.isinf(estimate.high) else "")


def milliseconds_interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{milliseconds(estimate.value)} [{milliseconds(estimate.low)}, {milliseconds(estimate.high)}]"


def slo_text(limits: SLO) -> str:
    """`p99 of TTFT ≤ 500 ms, of TPOT ≤ 30 ms`."""
    pairs = (("TTFT", limits.ttft_seconds), ("TPOT", limits.tpot_seconds))
    parts = [f"{name} ≤ {1000 * seconds:g} ms" for name, seconds in pairs if seconds is not None]
    return f"p{limits.percentile:g} of " + ", of ".join(parts)


def duration(seconds: float) -> str:
    """Two units at most: `40 s`, `40 min`, `1 h 20 min`, `3 d 4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def about_duration(seconds: float, factor: float) -> str:
    """With the range that its factor of uncertainty makes: `about 40 min (20 min to 1 h 20 min)`."""
    return f"about {duration(seconds)} ({duration(seconds / factor)} to {duration(seconds * factor)})"


def forecast_text(error: ForecastError) -> str:
    """What was forecast against what it took, environments and downloads apart."""
    outside = "" if error.is_within else ", which is outside"
    failed = f"; {counted(error.failed, 'cell')} failed and took less" if error.failed else ""
    forecast = about_duration(error.forecast_seconds, error.factor)
    return f"Forecast {forecast}; quantizing and measuring took {duration(error.took_seconds)}{outside}{failed}"


def spent_text(works: Sequence[Spent]) -> str:
    """The kinds of work, with their shares of what is known."""
    total = sum(part.seconds for part in works)
    shares = (f"{part.work} {duration(part.seconds)} ({100 * part.seconds / total:.0f} %)" for part in works)
    return f"Time went into {', '.join(shares)}; environments and downloads are not in it"


def deciding_text(entry: Deciding) -> str:
    """How many more items would decide, and how long they take; or why they would not."""
    if entry.times is None:
        return f"not decided by more {entry.unit}: {entry.why}"
    more = math.ceil((entry.times - 1) * entry.items)
    taking = f", some {duration(entry.seconds)} of scoring" if entry.seconds else ""
    return f"decided by about {more:,} more {entry.unit} if it stays at {entry.estimate.value:.3f}{taking}"


def nats(value: float | None) -> str:
    """Two significant digits, with an exponent where they are tiny."""
    return "–" if value is None else f"{value:.2g}"


def number(value: float) -> str:
    """Four significant digits at most, without an exponent."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.{max(0, 3 - len(str(int(abs(value)))))}f}"


def interval(estimate: Estimate | None, scale: float = 1.0) -> str:
    """`value [low, high]`, or a dash where there is none."""
    if estimate is None:
        return "–"
    return f"{number(estimate.value * scale)} [{number(estimate.low * scale)}, {number(estimate.high * scale)}]"


def plus_minus(estimate: Estimate | None, scale: float = 1.0) -> str:
    """`value ±half`, the half that is larger; `value −below/+above` where they differ by more than a third; `value ±∞`
    where a single visit says nothing of others. Rounded to what the interval says (Particle Data Group, Review of
    Particle Physics, section 5.3).
    """
    if estimate is None:
        return "–"
    value, low, high = (scale * end for end in (estimate.value, estimate.low, estimate.high))
    less, more = sorted((value - low, high - value))
    if not more:
        return number(value)
    if math.isinf(high) and low <= value / 1000:
        return f"{number(value)} ±∞"
    if more <= MOST_UNEVEN * less:
        digits = _decimals(more, two_below=3.55)
        return f"{value:.{digits}f} ±{max(more, 10.0**-digits):.{digits}f}"
    digits = _decimals(less or more)
    upper = f"{high - value:.{digits}f}" if math.isfinite(high) else "∞"
    return f"{value:.{digits}f} −{value - low:.{digits}f}/+{upper}"


def _decimals(half: float, two_below: float = 1.0) -> int:
    """For half an interval: it has a significant digit, two where it begins with less than `two_below`; three decimals
    at most.
    """
    exponent = math.floor(math.log10(half))
    return min(max(int(half / 10.0**exponent < two_below) - exponent, 0), 3)


def figure(value: float) -> str:
    """Four significant digits."""
    return f"{value:.4g}"


def figures_interval(estimate: Estimate) -> str:
    """`value [low, high]` with four significant digits each: money may be tiny."""
    return f"{figure(estimate.value)} [{figure(estimate.low)}, {figure(estimate.high)}]"


def spread(estimate: Estimate | None) -> str:
    """`value [low, high]` of what may be tiny, two significant digits each."""
    return "–" if estimate is None else f"{nats(estimate.value)} [{nats(estimate.low)}, {nats(estimate.high)}]"


def figure_text(answer: Answer) -> str:
    """How good the chosen cell is at what was asked for; empty where there is none."""
    if answer.won is None:
        return ""
    objective = answer.objective
    at = place_of(answer.won, answer.aim)
    return f"{interval(answer.won.figure)} {objective.unit}" + (f" at {at}" if at else "")


def won_text(answer: Answer) -> str:
    """The same with what it is the best of."""
    return f"{figure_text(answer)}, the {answer.objective.title}" if answer.won else ""


def code(text: str) -> Markup:
    """Escaped, with what stands between backticks as code."""
    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))


FILTERS: Mapping[str, Callable[..., str]] = {
    "calibration_note": calibration_note,
    "code": code,
    "deciding": deciding_text,
    "gib": gib,
    "needed_gib": needed_gib,
    "kib": kib,
    "interval": interval,
    "ms": milliseconds,
    "ms_sure": milliseconds_sure,
    "ms_interval": milliseconds_interval,
    "nats": nats,
    "number": number,
    "spread": spread,
    "share": share,
    "figure": figure,
    "forecast": forecast_text,
    "spent": spent_text,
    "figures": figures_interval,
    "slo": slo_text,
    "times": times,
    "won": won_text,
}
