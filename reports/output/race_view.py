"""What page, terminal and JSON show of a race: its noise, how sure the answer is, when each cell left and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.schema.race_file import RaceState, control_key
from evals.stats.intervals import Estimate
from quant.errors import counted
from reports.decision.ranking import candidates, ranked
from reports.decision.recommend import Answer
from reports.decision.results import Results
from reports.output.formatting import duration, interval
from reports.rounds.summary import Certainty, Noise, Rival, Visited, against_best, certainty, noise_of, visited

FIGURES = {"throughput": "output rate", "per-device": "output rate", "latency": "e2e 50"}


@dataclass(frozen=True)
class RaceView:
    """`certainties` are of the results' answers, in their order; None where the answer goes by no speed."""

    state: RaceState
    noises: Sequence[Noise]
    certainties: Sequence[Certainty | None]
    visited: Sequence[Visited]

    @property
    def lines(self) -> list[str]:
        """How it ended, and what its noise lets it show: a sentence each."""
        ran = f"The race ran {counted(self.state.number, 'round')}: {self.state.ending}."
        return [ran, *map(noise_text, self.noises)]


def race_view(results: Results) -> RaceView | None:
    """None for a run without a race."""
    race = results.race
    if race is None:
        return None
    control = results.control.key if results.control else None
    baseline = None
    if results.control is not None:
        same = (trial.key for trial in results.trials if control_key(trial.key) == control)
        baseline = next(same, None)
    return RaceView(
        state=race,
        noises=noise_of(results.speed_models, race, baseline, control),
        certainties=[_certainty(results, answer) for answer in results.answers],
        visited=visited(results.trials, race, _ratios(results)),
    )


def _ratios(results: Results) -> dict[str, Estimate]:
    """Of each model's cells at the busiest load, among those that may win something."""
    ratios: dict[str, Estimate] = {}
    for model in results.models:
        cells = [cell for cell in results.allowed if cell.trial.model == model and cell.loads]
        fitted = results.speed_models.get(cells[0].busiest.load, {}).get("output rate") if cells else None
        ratios |= against_best(fitted, [cell.trial.key for cell in cells], less=False) if fitted else {}
    return ratios


def _certainty(results: Results, answer: Answer) -> Certainty | None:
    figure = FIGURES.get(answer.aim.objective)
    if answer.won is None or answer.chosen is None or figure is None or len(answer.won.loads) != 1:
        return None
    load = answer.chosen.cell.calmest.load if figure == "e2e 50" else answer.won.loads[0].load
    fitted = results.speed_models.get(load, {}).get(figure)
    ours = [judged for judged in results.judged if judged.cell.trial.model == answer.model]
    serving = ranked(candidates(ours, answer.aim), answer.aim)  # what does not meet what is asked for is no rival
    if figure != "e2e 50" and any(candidate.loads[0].load != load for candidate in serving):
        return None  # speeds at several loads have no model in common
    rivals = {c.key: Rival(c.judged.cell.trial, c.kept_with, not any(c.doubtful)) for c in serving}
    race = results.race
    return certainty(fitted, answer.won.key, rivals, race, less=figure == "e2e 50") if fitted and race else None


SURE = 0.99  # beyond it draws and their model tell little
LEAST_REGRET = 0.001


def sure(answer: Answer, certain: Certainty | None, *, raced: bool) -> str:
    """The probability that the choice is the best and its expected regret, or else what is lost at most; and what is
    not known of it where there was no race.
    """
    if certain is not None:
        condition = "" if certain.kept_with == 1 else " if it meets them"
        regret = f"Expected regret{condition}: {_regret(certain)} % of {_fastest_rate(answer)}."
        return f"{_two_probabilities(certain)}. {regret}"
    if answer.worst_loss is not None:
        share = f"{100 * answer.worst_loss:.0f} %"
        lost = (
            f"if another cell is the best, at most {share} of its {answer.objective.unit} are lost (95 % confidence)."
        )
    else:
        lost = ""
    if raced or answer.chosen is None:
        return lost[:1].upper() + lost[1:]
    unknown = "Not known: each server was started once. Add `race: {}` to measure the variation between runs."
    return f"{unknown} Within this run, {lost}" if lost else unknown


def _two_probabilities(certain: Certainty) -> str:
    """Of being the fastest and of meeting the limits: one doubt must not hide in the other."""
    fastest = f"{certain.fastest:.2f}" if certain.fastest < SURE else f"> {SURE}"
    limits = "meets the limits (95 % CI)" if certain.kept_with == 1 else f"meets the limits: {certain.kept_with:.2f}"
    return f"Fastest: {fastest}; {limits}"


def _regret(certain: Certainty) -> str:
    return f"{100 * certain.regret:.1f}" if certain.regret >= LEAST_REGRET else "below 0.1"


def _fastest_rate(answer: Answer) -> str:
    """What a regret is a share of."""
    return "the fastest cell's speed, 1 ÷ latency" if answer.objective.less else "the fastest cell's tokens/s"


def certainty_text(certain: Certainty, answer: Answer) -> str:
    """How sure the choice is, and what would make it surer, as sentences."""
    at_worst = (
        f"; {100 * certain.regret_95:.1f} % or more in 1 of 20 cases" if certain.regret_95 >= LEAST_REGRET else ""
    )
    text = (
        f"Probabilities. {_two_probabilities(certain)}. Fastest is among the cells that meet the limits, if this one "
        f"does. Expected regret then: {_regret(certain)} % of {_fastest_rate(answer)}{at_worst}. Its figure corrected "
        f"for the winner's curse: {interval(certain.figure)}."
    )
    if not certain.rivals:
        return text
    names = ", ".join(certain.rivals)
    if certain.more_rounds is None:
        return f"{text} {names} may be as fast."
    taking = f", some {duration(certain.seconds)}" if certain.seconds else ""
    rounds = counted(certain.more_rounds, "more round")
    return f"{text} {names} may be the best: {rounds} of these cells would resolve a difference of the gap{taking}."


def noise_text(noise: Noise) -> str:
    """What two measurements of one cell differ by, and what rounds show, as a sentence."""
    shows = ", ".join(f"{100 * share:.1f} % after {counted(rounds, 'round')}" for rounds, share in noise.shows.items())
    text = (
        f"At {noise.load.label}, two visits of one cell differ by {100 * noise.typical:.1f} % or more in one of three "
        f"cases on this machine. The smallest detectable difference between two cells: {shows}."
    )
    if noise.control is None:
        return text
    ratio = noise.control
    return (
        f"{text} A/A control: the first baseline, visited under another name, gave {ratio.value:.3f} "
        f"[{ratio.low:.3f}, {ratio.high:.3f}] times its own output tokens/s. Without noise the ratio is 1."
    )
