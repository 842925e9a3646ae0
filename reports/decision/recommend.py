"""Which cell to run: the fastest that meets the plan's limits, how sure that is, and why not another.

An unquantized cell is the answer unless a quantized one is shown to be better: the burden of proof is on quantization.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from scipy import special

from evals.stats.intervals import CONFIDENCE, Estimate
from reports.decision.caveats import caveats_of, may_be_equal, not_yet, quantized_rivals
from reports.decision.ranking import (
    OBJECTIVES,
    Aim,
    Candidate,
    Objective,
    candidates,
    equal_by_race,
    place_of,
    ranked,
    recommendable,
)
from reports.decision.verdicts import Judged
from reports.decision.wording import fill, fixed, percent_text, say, verdict_text
from reports.metrics.needed_memory import needed_memory
from reports.metrics.ratios import quotient, ratio_of_means
from reports.metrics.slo_capacity import capacities


@dataclass(frozen=True)
class Other:
    """A cell that was not chosen, and why. Where it could have been: its `figure` of what was to be best; `apart`: at
    which load, and at which the chosen one's is, where it is another.
    """

    name: str
    model: str
    verdict: str
    why: str
    figure: Estimate | None = None
    apart: str = ""


@dataclass(frozen=True)
class Answer:
    """The recommendation for one `model`, `won` by that figure at that load. `caveats` say where intervals overlap or a
    limit is inconclusive, each under its label, or why nothing is `chosen`; `others` are all other cells, the best one
    first. `open_cells`: those that may be recommended once more is known: they are ahead, and it is not likely enough
    that they keep what is asked for. `alternative` names a cell whose figure is better and that is in doubt, or not
    shown to be better; empty where there is none. `worst_loss`: the share of the best one's figure that is lost at
    most, with 95 % confidence, if that is another.
    """

    chosen: Judged | None
    caveats: tuple[str, ...]
    best: tuple[tuple[str, str, str], ...]
    aim: Aim
    won: Candidate | None = None
    others: Sequence[Other] = ()
    model: str = ""
    alternative: str = ""
    worst_loss: float | None = None
    open_cells: tuple[str, ...] = ()
    caveat_labels: tuple[str, ...] = ()

    @property
    def objective(self) -> Objective:
        return OBJECTIVES[self.aim.objective]

    @property
    def runner_up(self) -> Other | None:
        """What to run if the chosen one is wrong."""
        return next((other for other in self.others if other.figure is not None), None)

    @property
    def ahead(self) -> list[str]:
        """The cells whose figure is better than the chosen one's, and whose quality or SLO is less sure."""
        sign = 1 if self.objective.less else -1
        won = self.won.figure.value if self.won else math.nan
        return [other.name for other in self.others if other.figure and sign * other.figure.value < sign * won]

    @cached_property
    def ratio(self) -> Estimate | None:
        """Of the runner-up's figure to the chosen one's, where it is a rate."""
        figure = self.runner_up.figure if self.runner_up else None
        if figure is None or self.won is None or self.objective.less:
            return None
        return ratio_of_means(figure, self.won.figure)


def decide(judged: Sequence[Judged], aim: Aim | None = None, model: str = "") -> Answer:
    """Of one model's cells the one that is best at what the `aim` asks for, among those whose quality is known to keep
    the limits: by default the highest throughput at the highest concurrency.

    A cell that fails or is not trusted can win nothing: not throughput, not memory, not balance. Nor can one whose
    accuracy was not measured, unless it is unquantized. Where no cell likely keeps the limits and the SLO, there is no
    recommendation yet.
    """
    aim = aim or Aim()
    shortlist = candidates(judged, aim)
    best = unless_shown(ranked(shortlist, aim), aim)
    others = _others(judged, shortlist, best, aim)
    if not best:
        unknown = say("none_known", title=OBJECTIVES[aim.objective].title) if recommendable(judged) else ""
        reason = say("none_serves", asks=aim.asks) if shortlist else unknown or say("none_allowed")
        return Answer(None, (reason,), (), aim, others=others, model=model)
    rows, sign = tuple(_best(best, aim)), 1 if OBJECTIVES[aim.objective].less else -1
    lead = math.inf if any(best[0].doubtful) else sign * best[0].figure.value
    open_cells = tuple(c.name for c in best if any(c.doubtful) and sign * c.figure.value < lead)
    if any(best[0].doubtful):
        return Answer(None, (not_yet(best[0], aim),), rows, aim, None, others, model, open_cells=open_cells)
    notes = caveats_of(best, aim)
    caveats, labels = tuple(text for _, text in notes), tuple(label for label, _ in notes)
    other, loss = _alternative(best, aim), _worst_loss(best, aim)
    return Answer(best[0].judged, caveats, rows, aim, best[0], others, model, other, loss, open_cells, labels)


def unless_shown(best: Sequence[Candidate], aim: Aim) -> list[Candidate]:
    """The same list, with the best unquantized cell first where its figure may be equal to that of the quantized one
    that is first: the best of several equal ones by chance seems better than one of them (`widening`). Not of the aim
    that asks for a quantized cell.
    """
    plain = next((candidate for candidate in best if candidate.judged.cell.trial.unquantized), None)
    if plain is None or best[0] is plain or plain.doubtful > best[0].doubtful:
        return list(best)
    if not may_be_equal(plain.figure, best[0].figure, widening(len(quantized_rivals(best)))):
        return list(best)
    return [plain, *(candidate for candidate in best if candidate is not plain)]


def widening(count: int) -> float:
    """How many times as wide a 95 % interval must be, so that none of so many equal cells is said to be better in more
    than 2.5 % of cases: Bonferroni's inequality, by quantiles of the normal distribution.
    """
    tail = (1 - CONFIDENCE) / 2
    return float(special.ndtri(1 - tail / max(count, 1)) / special.ndtri(1 - tail))


def _worst_loss(best: Sequence[Candidate], aim: Aim) -> float | None:
    """Against all of which quality and SLO are as sure as the chosen one's: others are no better for being faster.

    The bound of each holds for all at once (Hsu, Multiple Comparisons, 1996, chapter 4: comparisons with the best;
    here by Bonferroni's inequality, so that variances may differ), and the largest holds for whichever is the best. It
    may be of a cell that is far down the list, of which little is known. None where something has no bound.
    """
    chosen, others = best[0], [candidate for candidate in best[1:] if candidate.doubtful <= best[0].doubtful]
    if not others or OBJECTIVES[aim.objective].less:
        return None
    confidence = 1 - 2 * (1 - CONFIDENCE) / len(others)  # of two sides, of which one is asked for
    bounds = [ratio_of_means(candidate.figure, chosen.figure, confidence).high for candidate in others]
    return max(1 - 1 / max(bounds), 0.0) if math.isfinite(max(bounds)) and max(bounds) > 0 else None


def refusal(answer: Answer, models: Sequence[str]) -> str:
    """Why no cell was chosen, with the model where the run has several `models`; empty where one was."""
    if answer.chosen is not None:
        return ""
    (why,) = answer.caveats
    sentence = "no_answer_yet" if answer.open_cells else "no_answer"
    return say(f"{sentence}_of", model=answer.model, why=why) if len(models) > 1 else say(sentence, why=why)


def _alternative(best: Sequence[Candidate], aim: Aim) -> str:
    """The best figure of those that are ahead, cells without doubts first: no other that is ahead is both better and
    more likely to meet what is asked for. Equals of a race are not ahead of each other.
    """
    chosen, objective, equal = best[0], OBJECTIVES[aim.objective], equal_by_race(best, aim)
    sign = 1 if objective.less else -1
    rivals = [c for c in best[1:] if not {c.key, chosen.key} <= equal]
    ahead = [c for c in rivals if sign * c.figure.value < sign * chosen.figure.value]
    if not ahead or chosen.figure.value <= 0:
        return ""
    other = min(ahead, key=lambda candidate: (any(candidate.doubtful), sign * candidate.figure.value))
    is_shown = any(other.doubtful) and not may_be_equal(other.figure, chosen.figure)
    percent = percent_text(abs(other.figure.value / chosen.figure.value - 1))
    gain = fill(objective.gain if is_shown else objective.maybe, {"percent": percent})
    if not any(other.doubtful):
        return say("alternative_unshown", name=other.name, gain=gain)
    if not other.judged.is_good:
        return say("alternative", name=other.name, gain=gain)
    return say("alternative_asked", name=other.name, gain=gain, probability=fixed(other.kept_with, "probability"))


def _others(
    judged: Sequence[Judged], shortlist: Sequence[Candidate], best: Sequence[Candidate], aim: Aim
) -> list[Other]:
    others = [_other(candidate, best[0], aim) for candidate in best[1:]]
    if best and any(best[0].doubtful):
        others.insert(
            0, Other(best[0].name, best[0].judged.cell.trial.model, best[0].judged.verdict, not_yet(best[0], aim))
        )
    violated = [candidate.judged for candidate in shortlist if candidate.serves == "violated"]
    under = say("no_mix" if aim.mix else "no_load", asks=aim.asks)
    others += [_barred(judgement, "fails", under) for judgement in violated]
    known = {id(candidate.judged) for candidate in shortlist}
    return others + [
        _barred(judgement, judgement.verdict, judgement.why) for judgement in judged if id(judgement) not in known
    ]


def _barred(judged: Judged, verdict: str, why: str) -> Other:
    return Other(judged.cell.trial.name, judged.cell.trial.model, verdict, why)


def _other(candidate: Candidate, chosen: Candidate, aim: Aim) -> Other:
    objective = OBJECTIVES[aim.objective]
    owner = say("owner", name=chosen.name) if any(chosen.doubtful) else say("owner_chosen")
    ratio = f"{quotient(candidate.figure.value, chosen.figure.value):.2f}"
    why = say("other", ratio=ratio, owner=owner, unit=objective.unit)
    at, theirs = place_of(candidate, aim), place_of(chosen, aim)
    apart = say("apart", at=at, theirs=theirs) if at != theirs else ""
    if at:
        why = _with_same(f"{why}{apart}", candidate, chosen, aim) if apart else say("other_at", why=why, at=at)
    if candidate.serves == "inconclusive":
        why = say("other_asked", why=why, asks=aim.asks)
    trial = candidate.judged.cell.trial
    return Other(
        trial.name, trial.model, candidate.judged.verdict, f"{why}; {candidate.judged.why}", candidate.figure, apart
    )


def _with_same(why: str, candidate: Candidate, chosen: Candidate, aim: Aim) -> str:
    """And the ratio of rates at the candidate's load, where both were measured there."""
    rates = {load.load: load.output_rate.value for load in chosen.judged.cell.loads}
    loads = [load for load in candidate.loads if load.load in rates]
    if aim.objective != "throughput" or len(candidate.loads) != 1 or not loads:
        return why
    ratio = f"{quotient(loads[0].output_rate.value, rates[loads[0].load]):.2f}"
    return say("other_same", why=why, at=loads[0].load.label, ratio=ratio)


def _best(shortlist: Sequence[Candidate], aim: Aim) -> list[tuple[str, str, str]]:
    """By measured values, of the cells whose quality is most sure; only the throughput is held to what the aim asks
    for. Where all loads were open, output tokens/s are what was offered.
    """
    rows = []
    if any(load.load.concurrency is not None for candidate in shortlist for load in candidate.judged.cell.loads):
        fastest = min(shortlist, key=lambda candidate: (*candidate.doubtful, -candidate.rate.value))
        title = f"best throughput within {aim.asks}" if aim.asks else "best throughput"
        text = f"{fastest.rate.value:.1f} output tokens/s at {fastest.at}"
        rows.append((title, fastest.judged, text, fastest.verdict))
    judged = [candidate.judged for candidate in shortlist]
    sized = [(needed.gib.value, judgement) for judgement in judged if (needed := needed_memory(judgement.cell.trial))]
    if sized:
        gib, least = min(sized, key=lambda pair: (not pair[1].is_good, pair[0]))
        rows.append(("best memory", least, f"{gib:.2f} GiB needed", verdict_text(least.verdict, least.kept_with)))
    rows += [(*row, verdict_text(row[1].verdict, row[1].kept_with)) for row in _most_served(judged)]
    scored = [judgement for _, judgement in sized if judgement.cell.accuracy]
    if scored:
        balanced = max(scored, key=lambda judgement: (judgement.is_good, balance(judgement)))
        text = f"{balance(balanced):.1f} tokens/s × accuracy ÷ GiB"
        rows.append(("best balance", balanced, text, verdict_text(balanced.verdict, balanced.kept_with)))
    return [(title, judgement.cell.trial.name, f"{text}; {verdict}") for title, judgement, text, verdict in rows]


def _most_served(ranked: Sequence[Judged]) -> list[tuple[str, Judged, str]]:
    """By what the searches ran over: the cell that meets the SLO under the highest load."""
    pairs = [
        (capacity, judgement)
        for judgement in ranked
        for capacity in capacities([judgement.cell])
        if capacity.met is not None
    ]
    rows = []
    for within in dict.fromkeys(capacity.within for capacity, _ in pairs):
        of_range = [pair for pair in pairs if pair[0].within == within]
        most, judgement = max(of_range, key=lambda pair: (pair[1].is_good, pair[0].met or 0.0))
        rows.append((OBJECTIVES["capacity"].title, judgement, most.text))
    return rows


def balance(judged: Judged) -> float:
    """The field's balance score: throughput × mean accuracy ÷ needed memory in GiB. A column, never the decider."""
    accuracy, needed = judged.cell.accuracy, needed_memory(judged.cell.trial)
    if accuracy is None or needed is None:
        return 0.0
    return judged.cell.busiest.output_rate.value * accuracy.value / needed.gib.value
