"""A look at a race: who leaves, and whether it has ended. It sees the rounds that are finished, and no later visit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from evals.rounds.race import RaceRules
from evals.schema.load import LoadPoint
from evals.schema.race_file import Ending, Left, RaceState
from evals.schema.run_file import read_run
from evals.schema.trial import Trial
from flows.execute.prepared import Prepared
from flows.execute.rows import finished
from reports.decision.ranking import candidates, ranked
from reports.decision.results import Results, conclude
from reports.decision.rules import BARRED, THRESHOLDS
from reports.decision.verdicts import Judged
from reports.rounds.control import control_of
from reports.rounds.standing import ObjectiveStanding, Verdict, objectives, race_rules, stand

FIRST_LOOK = RaceRules().first_look
ASKED = "that may meet what is asked for"
SLOWER = "slower than another cell at every load (95 % CI); probability of being Pareto-optimal below 5 %"


def look(prepared: Prepared, state: RaceState) -> RaceState:
    """The state with who leaves after its last round. Cells that fail a limit leave after any; the slower ones from the
    third on.
    """
    trials = [until(trial, state.number) for row in prepared.rows if (trial := finished(row)) is not None]
    control = control_of(prepared.folder, state)
    results = conclude(
        read_run(prepared.folder),
        trials,
        prepared.folder / "trials",
        race=replace(state, ended=None, equal=()),
        control=until(control, state.number) if control else None,
    )
    barred = {j.cell.trial.key: f"{j.verdict}: {j.why}" for j in results.judged if j.verdict in BARRED}
    state = _leaving(state, trials, barred)
    if state.number >= FIRST_LOOK:
        state = _standings(results, state)
        state = _leaving(state, trials, dict.fromkeys(_slower(results, state), SLOWER))
    racing = [cell for cell in results.cells if cell.loads and cell.trial.key not in state.gone]
    return state if racing else replace(state, ended="no contenders")


def _leaving(state: RaceState, trials: list[Trial], reasons: Mapping[str, str]) -> RaceState:
    """The state when cells that are in it leave for these reasons, by their keys."""
    left = [
        Left(trial.key, trial.name, trial.model, state.number, reasons[trial.key])
        for trial in trials
        if trial.key in reasons and trial.key not in state.gone
    ]
    return replace(state, left=(*state.left, *left))


def until(trial: Trial, number: int) -> Trial:
    """The trial as it was after so many rounds."""
    memory = trial.memory
    if memory:
        memory = replace(memory, later_peaks=tuple(peak for peak in memory.later_peaks if peak[0] <= number))
    return replace(trial, speed=tuple(speed.until(number) for speed in trial.speed), memory=memory)


def _standings(results: Results, state: RaceState) -> RaceState:
    """The state with who may still be the best for each objective, and how the race for what the plan wants to be best
    has ended: for every model, among all cells that may win and among those whose quality is known to be good.
    """
    contenders, raced, rules = dict(state.contenders), dict(state.raced), race_rules(state)
    verdicts, equal, telling = list[Verdict](), set[str](), set[str]()
    for model in results.models:
        of_model = [judged for judged in results.judged if judged.cell.trial.model == model]
        allowed = [j for j in of_model if j.verdict not in BARRED and j.cell.trial.key not in state.gone]
        asked = _asked(results, allowed)
        groups = {"": allowed} | ({} if asked.judged is allowed else {f" ({ASKED})": asked.judged})
        groups |= {
            f"{group} (of known quality)": [
                j for j in cells if j.is_good and not (group and j.cell.trial.key in asked.doubtful)
            ]
            for group, cells in groups.items()
        }
        for group, cells in groups.items():
            keys = frozenset(judged.cell.trial.key for judged in cells)
            for objective in objectives(list(dict.fromkeys(load.load for j in cells for load in j.cell.loads))):
                title = f"{model}: {objective.title}{group}"
                racing = keys & ({*contenders.get(title, ())} | (keys - {*raced.get(title, ())}))
                standing = stand(objective, results.speed_models, racing, rules)
                if len(keys) == 1:
                    standing = ObjectiveStanding(keys, "winner")
                if standing is None:
                    continue
                contenders[title] = tuple(sorted(standing.may_be_best))
                raced[title] = tuple(sorted(keys | {*raced.get(title, ())}))
                if objective.figure == asked.figure and objective.load == asked.load and asked.title in group:
                    verdict = standing.verdict if asked.decides(standing.verdict) else "undecided"
                    verdicts.append(verdict)
                    if verdict == "undecided":
                        telling |= standing.telling if standing.verdict == "undecided" else keys
                    equal |= standing.may_be_best if verdict == "equal" else frozenset()
    if not verdicts or "undecided" in verdicts:
        return replace(state, contenders=contenders, raced=raced, telling=tuple(sorted(telling)))
    ended: Ending = "equal" if "equal" in verdicts else "winner"
    return replace(state, contenders=contenders, raced=raced, ended=ended, equal=tuple(sorted(equal)))


def _slower(results: Results, state: RaceState) -> list[str]:
    """Keys of cells that may be the best for nothing, and are on no frontier."""
    reached = frozenset[str]().union(*state.contenders.values())
    highest: dict[tuple[str, str], float] = {}
    for standing in (standing for front in results.frontiers for standing in front.standings):
        odds = 1.0 if standing.odds is None else standing.odds
        highest[standing.model, standing.name] = max(highest.get((standing.model, standing.name), 0.0), odds)
    return [
        cell.trial.key
        for cell in results.allowed
        if cell.trial.key not in reached
        and highest.get((cell.trial.model, cell.trial.name), 1.0) < THRESHOLDS["dominated_below"]
    ]


@dataclass(frozen=True)
class _Asked:
    """What an answer goes by, and the cells that are compared by it. `alone`: no cell at another load may win;
    `ties`: cells that are equal there are ranked by their quality; `doubtful`: keys of those that come after others,
    whatever their speed.
    """

    judged: list[Judged]
    load: LoadPoint | None = None
    figure: str = "output rate"
    title: str = ""
    alone: bool = True
    ties: bool = True
    doubtful: frozenset[str] = frozenset()

    def decides(self, verdict: Verdict) -> bool:
        return self.alone and (self.ties or verdict != "equal")


def _asked(results: Results, allowed: list[Judged]) -> _Asked:
    """What the recommendation goes by: the latency of the calmest load, or the throughput of the busiest. With an SLO
    or a highest cost each cell is ranked at its own load, and those that may meet it at the winner's are compared.
    """
    aim, timed = results.planned.aim, [judged.cell for judged in allowed if judged.cell.loads]
    if not timed:
        return _Asked(allowed)
    if aim.objective == "latency":
        return _Asked(allowed, timed[0].calmest.load, "e2e 50")
    won = ranked(candidates(allowed, aim), aim)[:1] if aim.asks and aim.objective == "throughput" else []
    if not won:
        return _Asked(allowed, timed[0].busiest.load)
    (first,) = won
    serving = [candidate for candidate in candidates(allowed, aim) if candidate.serves != "violated"]
    there = [candidate for candidate in serving if candidate.loads[0].load == first.loads[0].load]
    sure = [candidate for candidate in serving if candidate not in there and candidate.doubtful <= first.doubtful]
    return _Asked(
        [candidate.judged for candidate in there],
        first.loads[0].load,
        title=ASKED,
        alone=all(candidate.figure.high < first.figure.low for candidate in sure),
        ties=first.loads[0].load == first.judged.cell.busiest.load,
        doubtful=frozenset(candidate.key for candidate in there if any(candidate.doubtful)),
    )
