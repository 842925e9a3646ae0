"""Does a race name the right winner? `python -m benchmarks.race [--sweeps 300]`, about six minutes.

Simulates sweeps of six cells under each noise of a real machine, judges them by `evals.rounds` and by what was done
before it (one visit a cell in the plan's order, three repeats, Student's t of the repeats), and ends with 1 where a
limit is missed by more than two standard errors of the simulation.

Two fields: *spread* (the second cell behind by the lead, the others by 2, 5, 10 and 20 % more, as real sweeps have
them) and *level* (all five behind by exactly the lead, the hardest there is). In a spread field without a lead the
first two are tied.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
from scipy import stats

from benchmarks.support.limits import Limit, summed_up
from benchmarks.support.noisy_machines import CELLS, MOST_AGAIN, NOISES, REPEATS, SESSION, Machine, Noise
from evals.rounds.block_model import NOTHING_KNOWN, BlockFit, Flags, NoisePrior, fit_blocks, without_disturbed
from evals.rounds.posterior import choices, chosen_bounds, mean_draws
from evals.rounds.race import RaceRules, Standing, judge, most_telling
from evals.stats.intervals import Floats, Labels

DRAWS = 1000
PILOT_CELLS = 5  # equal cells in six rounds, whose spread is the noise's prior: twenty degrees of freedom
VISITS = 24  # within which a lead of 10 % is to be decided
RULES = RaceRules()
BUDGETED = RaceRules(rounds=12)  # where `minutes` end a race, and after the first look the most telling pair is visited
REGRETS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.5, 100.0)  # %, bins of expected regret

Generator = np.random.Generator

LEADS = (0.0, 0.03, 0.10)
FIELDS: dict[str, Callable[[float], list[float]]] = {
    "spread": lambda lead: [0.0, *(-np.log1p(lead + further) for further in (0, 0.02, 0.05, 0.1, 0.2))],
    "level": lambda lead: [0.0] + [-float(np.log1p(lead))] * (CELLS - 1),
}


@dataclass(frozen=True)
class Outcome:
    """Of each sweep: the cell that is named first, by the order of means, and by least expected regret; whether as the
    sure winner; whether some are said to be equal though they are not; visits; the logarithmic interval of the
    first cell and what it should hold; regret.
    """

    first: Labels
    by_regret: Labels
    sure: Flags
    equal: Flags
    not_equal: Flags
    visits: Labels
    low: Floats
    high: Floats
    truth: Floats
    said_regret: Floats


def before(noise: Noise, speeds: Floats, generator: Generator) -> Outcome:
    """One visit a cell in the plan's order. Sure where no other cell's interval reaches the first one's."""
    machine, every = Machine(noise, len(speeds), CELLS, generator), np.ones(len(speeds), dtype=bool)
    logs = np.stack([machine.visit(speeds[:, cell], every)[0] for cell in range(CELLS)], axis=1)
    means = logs.mean(axis=2)
    half = stats.t.ppf(0.975, REPEATS - 1) * logs.std(axis=2, ddof=1) / np.sqrt(REPEATS)
    first = means.argmax(axis=1)
    low, high = (np.take_along_axis(means + sign * half, first[:, None], axis=1)[:, 0] for sign in (-1, 1))
    others = np.arange(CELLS) != first[:, None]
    sure = low > np.where(others, means + half, -np.inf).max(axis=1)
    never, truth = np.zeros(len(speeds), dtype=bool), _true_mean(machine, speeds, first)
    return Outcome(
        first, first, sure, never, never, np.full(len(speeds), CELLS), low, high, truth, np.full(len(speeds), np.nan)
    )


def _true_mean(machine: Machine, speeds: Floats, first: Labels) -> Floats:
    """A cell's own speed with the machine's state, without bursts, averaged over all visits: over the race's time."""
    own: Floats = np.take_along_axis(speeds, first[:, None], axis=1)[:, 0]
    truth: Floats = own + np.nanmean(np.stack(machine.undisturbed), axis=0)
    return truth


def noise_of_equal_cells(noise: Noise, sweeps: int, generator: Generator) -> NoisePrior:
    """By equal cells that each machine has visited before: what its own A/A controls have taught it."""
    machine, equal = Machine(noise, sweeps, PILOT_CELLS * 6, generator), np.zeros(sweeps)
    logs = np.full((sweeps, PILOT_CELLS, 6), np.nan)
    disturbed = np.zeros(logs.shape, dtype=bool)
    for visit in range(PILOT_CELLS * 6):
        place = (slice(None), visit % PILOT_CELLS, visit // PILOT_CELLS)
        seen, _, disturbed[place] = machine.visit(equal, equal == 0)
        logs[place] = seen.mean(axis=1)
    fit = fit_blocks(without_disturbed(logs, disturbed))
    return NoisePrior(fit.scale**2, fit.degrees)


def race(
    noise: Noise, speeds: Floats, rules: RaceRules, prior: NoisePrior, duels: bool, generator: Generator
) -> Outcome:
    """Rounds of contenders until the race is over. `duels`: after the first look only the first two are visited."""
    machine, sweeps = Machine(noise, len(speeds), CELLS * rules.rounds, generator), np.arange(len(speeds))
    logs = np.full((*speeds.shape, rules.rounds), np.nan)
    disturbed = np.zeros(logs.shape, dtype=bool)
    visits = np.zeros(len(speeds), dtype=np.int64)
    standing = Standing(np.ones(speeds.shape, dtype=bool), visits > 0, visits > 0)
    next_ones = standing.contenders
    for number in range(rules.rounds):
        racing = ~standing.over
        order = np.argsort(np.where(next_ones, generator.random(speeds.shape), 2.0), axis=1)
        for place in range(CELLS):
            cell = order[:, place]
            wanted = racing & next_ones[sweeps, cell]
            seen, taken, hit = machine.visit(speeds[sweeps, cell], wanted, MOST_AGAIN if number else 0)
            logs[sweeps[wanted], cell[wanted], number] = seen[wanted].mean(axis=1)
            disturbed[sweeps[wanted], cell[wanted], number] = hit[wanted]
            visits += taken
        if number + 1 >= rules.first_look:
            so_far = without_disturbed(logs[:, :, : number + 1], disturbed[:, :, : number + 1])
            fit = fit_blocks(so_far, prior)
            look = judge(fit, standing.contenders, rules)
            standing = Standing(
                *(
                    np.where(racing if new.ndim == 1 else racing[:, None], new, old)
                    for new, old in (
                        (look.contenders, standing.contenders),
                        (look.winner, standing.winner),
                        (look.equal, standing.equal),
                    )
                )
            )
            next_ones = most_telling(fit, standing.contenders) if duels else standing.contenders
    return _conclude(machine, fit, standing, speeds, visits, rules)


def _conclude(
    machine: Machine, fit: BlockFit, standing: Standing, speeds: Floats, visits: Labels, rules: RaceRules
) -> Outcome:
    draws = mean_draws(fit, machine.generator, DRAWS)
    choice = choices(draws)
    first, by_regret = (
        np.where(standing.winner, standing.contenders.argmax(axis=1), chosen)
        for chosen in (fit.means.argmax(axis=1), choice.regret.argmin(axis=1))
    )
    bounds = chosen_bounds(fit, draws, first)
    slowest = np.where(standing.contenders, speeds, np.inf).min(axis=1)
    not_equal = standing.equal & (speeds.max(axis=1) - slowest > np.log1p(rules.gap) + 1e-9)
    regret = np.take_along_axis(choice.regret, first[:, None], axis=1)[:, 0]
    truth = _true_mean(machine, speeds, first)
    decided = standing.winner, standing.equal, not_equal
    return Outcome(first, by_regret, *decided, visits, bounds.low, bounds.high, truth, regret)


@dataclass(frozen=True)
class Figures:
    """Of a line, all in percent but `visits`. `lost` is each sweep's regret, `expected` what was said of it before,
    `lost_by_regret` that of the cell with the least expected regret.
    """

    slower: float  # named first, sure or not, and not the fastest
    decided: float
    in_time: float  # within VISITS
    wrong: float  # sure of a cell that is not faster than all others, or of equals that are not
    of_decided: float
    misled: float  # as `wrong`, but a cell that is tied for the fastest is none
    holds: float
    visits: float
    lost: Floats
    expected: Floats
    lost_by_regret: Floats


def figures(outcome: Outcome, speeds: Floats) -> Figures:
    own, by_regret = (
        np.take_along_axis(speeds, first[:, None], axis=1)[:, 0] for first in (outcome.first, outcome.by_regret)
    )
    lost = -np.expm1(own - speeds.max(axis=1))
    alone = (speeds >= own[:, None] - 1e-12).sum(axis=1) == 1
    decided = outcome.sure | outcome.equal
    wrong = (outcome.sure & ~alone) | outcome.not_equal
    slower = lost > 1e-9
    return Figures(
        slower=_percent(slower),
        decided=_percent(decided),
        in_time=_percent(decided & (outcome.visits <= VISITS)),
        wrong=_percent(wrong),
        of_decided=_percent(wrong[decided]),
        misled=_percent((outcome.sure & slower) | outcome.not_equal),
        holds=_percent((outcome.low <= outcome.truth) & (outcome.truth <= outcome.high)),
        visits=float(outcome.visits.mean()),
        lost=100 * lost,
        expected=100 * outcome.said_regret,
        lost_by_regret=-100 * np.expm1(by_regret - speeds.max(axis=1)),
    )


def _percent(flags: Flags) -> float:
    return 100 * float(flags.mean()) if len(flags) else 0.0


def line(
    noise: Noise, field: str, lead: float, sweeps: int, rules: RaceRules, learnt: bool = True, duels: bool = False
) -> tuple[Figures, Figures]:
    """What was, and what a race says, of the same fields; each line has a seed of its own."""
    generator = np.random.default_rng(list(f"{noise.name} {field} {lead}".encode()))
    speeds = generator.permuted(np.tile(np.asarray(FIELDS[field](lead)), (sweeps, 1)), axis=1)
    prior = noise_of_equal_cells(noise, sweeps, generator) if learnt else NOTHING_KNOWN
    old = before(replace(noise, sentinel=False), speeds, generator)
    return figures(old, speeds), figures(race(noise, speeds, rules, prior, duels, generator), speeds)


HEADING = (
    f"{'noise':22s} {'field':6s} lead | before: slower decided wrong holds regret "
    f"| race: slower decided in-time wrong of-decided misled holds visits regret said by-regret"
)


def printed(noise: str, field: str, lead: float, old: Figures, new: Figures) -> str:
    earlier = f"{old.slower:14.1f} {old.decided:7.1f} {old.wrong:5.1f} {old.holds:5.1f} {old.lost.mean():6.2f}"
    certain = f"{new.slower:12.1f} {new.decided:7.1f} {new.in_time:7.1f} {new.wrong:5.1f} {new.of_decided:10.1f}"
    rest = f"{new.misled:6.1f} {new.holds:5.1f} {new.visits:6.1f} {new.lost.mean():6.2f} {new.expected.mean():4.2f}"
    rest = f"{rest} {new.lost_by_regret.mean():9.2f}"
    return f"{noise:22s} {field:6s} {100 * lead:3.0f}% | {earlier} | {certain} {rest}"


def limits(noise: Noise, field: str, lead: float, old: Figures, new: Figures, duels: bool) -> list[Limit]:
    """Of a line. To be named though tied is what `alpha` limits. Intervals of duels may be wide, and beside bursts."""

    def error(percent: float) -> float:
        return 2 * math.sqrt(percent * (100 - percent) / len(new.lost))

    title = f"{noise.name}, {field}, {100 * lead:.0f} %{', minutes' if duels else ''}"
    tied = field == "spread" and lead == 0
    wrong = Limit(
        f"sure and wrong{', tied' if tied else ''}", title, new.wrong, *((5.0, error(5)) if tied else (2.5, error(2.5)))
    )
    made = [
        wrong,
        Limit("sure of a slower cell", title, new.misled, 2.5),
        Limit("more often sure of a slower cell than before", title, new.misled - old.misled, 0.0, error(2.5)),
        Limit("more regret than before", title, float(new.lost.mean() - old.lost.mean()), 0.5),
        Limit("winner's interval holds", title, new.holds, 93.0, error(93), at_least=True),
    ]
    if not duels and (noise.sentinel or not noise.bursts):
        made.append(Limit("winner's interval holds too often", title, new.holds, 98.0, error(98)))
    if noise == SESSION and lead == 0.10:
        made.append(Limit("wrong, 10 % lead at 5 % a session", title, new.wrong, 1.0))
        if field == "spread":
            made.append(
                Limit("decided in 24 visits, 10 % lead at 5 % a session", title, new.in_time, 60.0, at_least=True)
            )
    return made


def calibration(lines: Sequence[Figures]) -> list[Limit]:
    """Print what was given away of all sweeps by what was expected; how far each bin is off."""
    promised = np.concatenate([figures.expected for figures in lines])
    lost = np.concatenate([figures.lost for figures in lines])
    made = []
    by_regret = float(np.concatenate([figures.lost_by_regret for figures in lines]).mean())
    print(
        f"\nGiven away by the largest mean {lost.mean():.3f} %, "
        f"by the least expected regret {by_regret:.3f} %, all lines"
    )
    print("\nExpected regret, all lines:")
    for low, high in pairwise(REGRETS):
        within = (low <= promised) & (promised < high)
        if within.any():
            mean, true = float(promised[within].mean()), float(lost[within].mean())
            print(f"{low:5.2f} to {high:6.2f} %: said {mean:.2f}, true {true:.2f} ({within.sum()})")
            error = 2 * float((lost - promised)[within].std()) / math.sqrt(within.sum())
            made.append(Limit("expected regret is off by", f"said {low} to {high} %", abs(mean - true), 1.0, error))
    return made


def of_repeats(count: int) -> Noise:
    """5 % a session with so many repeats a visit in place of REPEATS."""
    return replace(SESSION, name=f"{count} a visit", repeat=SESSION.repeat * (REPEATS / count) ** 0.5)


def lines(
    noises: Sequence[Noise], sweeps: int, rules: RaceRules, *, duels: bool = False
) -> tuple[list[Figures], list[Limit]]:
    """Print each noise, field and lead; the races' figures, and what is asked of them."""
    races: list[Figures] = []
    asked: list[Limit] = []
    for noise, field, lead in product(noises, FIELDS, LEADS):
        both = line(noise, field, lead, sweeps, rules, duels=duels)
        races.append(both[1])
        print(printed(noise.name, field, lead, *both), flush=True)
        asked += limits(noise, field, lead, *both, duels)
    return races, asked


def other_rules(sweeps: int) -> None:
    """What else would decide a lead of 10 % at 5 % a session."""
    early = replace(RULES, first_look=2)
    for name, noise, rules, learnt, duels in (
        ("nothing learnt", SESSION, RULES, False, False),
        ("five repeats a visit", of_repeats(5), RULES, True, False),
        ("first look at 2 rounds", SESSION, early, True, False),
        ("duels, 6 rounds", SESSION, RULES, True, True),
        ("duels, look at 2", SESSION, replace(early, rounds=8), True, True),
    ):
        for field in FIELDS:
            print(printed(name, field, 0.10, *line(noise, field, 0.10, sweeps, rules, learnt, duels)), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweeps", type=int, default=300, help="simulated sweeps of a line")
    sweeps = parser.parse_args().sweeps
    print(f"{sweeps} sweeps a line; all in % but visits. Race: {RULES}\n{HEADING}")
    races, asked = lines(NOISES, sweeps, RULES)
    asked += calibration(races)
    print("\nOne repeat a visit, as a plan with a race has by default, 5 % a session:")
    asked += lines([of_repeats(1)], sweeps, RULES)[1]
    print(f"\nA time budget: duels after the look, {BUDGETED.rounds} rounds")
    budgeted, of_budgeted = lines(NOISES, sweeps, BUDGETED, duels=True)
    asked += [*of_budgeted, *calibration(budgeted)]
    print("\nOther rules and noises, 5 % a session:")
    other_rules(sweeps)
    return bool(summed_up(asked))


if __name__ == "__main__":
    sys.exit(main())
