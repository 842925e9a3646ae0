"""The trials of a sweep with all that is concluded from them: what page, console, JSON and table show."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from evals.schema.load import LoadPoint
from evals.schema.race_file import RaceState, read_race
from evals.schema.run_file import AGAIN, RUN_FILE, NoRun, read_run
from evals.schema.secrets_hidden import described_without_secrets, without_secrets
from evals.schema.slo import SLO
from evals.schema.trial import Server, Trial
from evals.schema.trial_file import UnreadableTrial, read_trial, unreadable_row
from quant.errors import counted, program, reading, without_controls
from reports.decision.cell_names import told_apart, with_compute_types
from reports.decision.frontier.frontiers import Frontier, across_models, frontiers_of
from reports.decision.ranking import Aim, fitting_objective
from reports.decision.recommend import Answer, decide
from reports.decision.rules import BARRED
from reports.decision.trust_checks import LabelledTexts, distrust, run_warnings, usable
from reports.decision.verdicts import Judged, Limits, judge, point_to_scored
from reports.metrics.cell import CellMetrics, cell_metrics
from reports.metrics.cost import Price
from reports.metrics.divergence import Distance, distances, largest_kl
from reports.metrics.engine_loss import AgainstReference, EngineLoss, against_reference, engine_losses
from reports.metrics.figures_of_merit import needed_gib
from reports.metrics.paired_vs_baseline import Compared, compared
from reports.rounds.control import control_of
from reports.rounds.speeds import Fitted, speed_models, with_models

T = TypeVar("T")
# what the page and every conclusion take from a run's description
NEEDED = (
    *("name", "models", "notes", "device", "threads", "repeats", "limits", "accuracy"),
    *("memory_source", "command", "plan", "versions"),
)


@dataclass(frozen=True)
class Setting:
    """What is concluded from the cells' figures depends on: what they must keep, what is to be best and for which load,
    and the keys of cells that are left `without` (they may still be others' baselines).
    """

    limits: Limits
    aim: Aim
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Conclusion:
    """All that depends on a setting. There is one answer for each model: across models no cell wins."""

    setting: Setting
    judged: tuple[Judged, ...]
    answers: tuple[Answer, ...]
    bytes_per_token: Mapping[str, float] = field(default_factory=dict)

    @property
    def answer(self) -> Answer:
        """Of a run of one model; ValueError where there are several."""
        (answer,) = self.answers
        return answer

    @property
    def allowed(self) -> list[CellMetrics]:
        """Cells that may win something."""
        return [judgement.cell for judgement in self.judged if judgement.verdict not in BARRED]

    @cached_property
    def frontiers(self) -> list[Frontier]:
        """Of each model, of its cells that may win something; then of all models together."""
        models = [answer.model for answer in self.answers]
        aim = self.setting.aim
        own = [front for model in models for front in frontiers_of(model, models, self.allowed, aim.price, aim.mix)]
        return [*own, *across_models(self.allowed, self.bytes_per_token)]


@dataclass(frozen=True)
class Results:
    """The trials of a sweep with all that was computed from them. `about` is the sweep's own description; `doubts` are
    reasons not to trust a cell, by its trial's key; `losses` what each engine loses by itself; `direct`
    are cells against the model's reference in another server, by their trials' keys; `speed_models` are of the loads
    that were measured in rounds, by their figures' names; `race` says what became of one, and `control` is the first
    baseline's trial under another name.
    """

    about: Mapping[str, Any]
    trials: tuple[Trial, ...]
    cells: tuple[CellMetrics, ...]
    doubts: Mapping[str, Sequence[str]]
    distances: tuple[Distance, ...] = ()
    losses: Mapping[Server, EngineLoss] = field(default_factory=dict)
    direct: Mapping[str, AgainstReference] = field(default_factory=dict)
    speed_models: Mapping[LoadPoint, Mapping[str, Fitted]] = field(default_factory=dict)
    race: RaceState | None = None
    control: Trial | None = None

    @cached_property
    def models(self) -> list[str]:
        """In the plan's order; one without a name where nothing was measured yet."""
        return list(dict.fromkeys(trial.model for trial in self.trials)) or [""]

    def under(self, setting: Setting) -> Conclusion:
        """Judge and decide once more."""
        kl = largest_kl(self.distances)
        cells = [cell for cell in self.cells if cell.trial.key not in setting.without]
        judged = [
            judge(
                cell,
                setting.limits,
                self.doubts[cell.trial.key],
                kl.get(cell.trial.key),
                self.losses.get(cell.trial.server),
                self.direct.get(cell.trial.key),
            )
            for cell in cells
        ]
        pointed = point_to_scored(judged)
        by_model = [
            [judgement for judgement in pointed if judgement.cell.trial.model == model] for model in self.models
        ]
        answers = [decide(group, setting.aim, model) for group, model in zip(by_model, self.models, strict=True)]
        return Conclusion(setting, pointed, tuple(answers), self.bytes_per_token)

    @property
    def bytes_per_token(self) -> Mapping[str, float]:
        """Of text, by model; runs of older programs do not say."""
        return self.about.get("bytes_per_token") or {}

    @cached_property
    def planned(self) -> Setting:
        """What the plan asked for."""
        price = self.about.get("price")
        objective = fitting_objective(self.cells, self.slo)
        aim = Aim(objective, self.slo, price=Price(**price) if price else None, tied=self._tied)
        return Setting(self.limits, aim)

    @property
    def _tied(self) -> dict[str, int]:
        """Cells that a race showed to be equal in speed: their places by quality, then by memory."""
        equal = [cell for cell in self.cells if self.race and cell.trial.key in self.race.equal]

        def worse(cell: CellMetrics) -> tuple[float, float, float]:
            direct = self.direct.get(cell.trial.key)
            ratio = direct.quality.perplexity_ratio if direct else cell.perplexity_ratio
            needed = needed_gib(cell)
            return (
                ratio.value if ratio else math.inf,
                -cell.accuracy.value if cell.accuracy else 0.0,
                needed.value if needed else math.inf,
            )

        return {cell.trial.key: place for place, cell in enumerate(sorted(equal, key=worse))}

    @cached_property
    def conclusion(self) -> Conclusion:
        return self.under(self.planned)

    @property
    def judged(self) -> tuple[Judged, ...]:
        return self.conclusion.judged

    @property
    def answers(self) -> tuple[Answer, ...]:
        return self.conclusion.answers

    @property
    def answer(self) -> Answer:
        """Of a run of one model; ValueError where there are several."""
        return self.conclusion.answer

    @property
    def allowed(self) -> list[CellMetrics]:
        return self.conclusion.allowed

    @property
    def frontiers(self) -> list[Frontier]:
        return self.conclusion.frontiers

    @cached_property
    def compared(self) -> Compared:
        """Every quantized cell against its baseline, in one family of comparisons."""
        return compared(self.cells, self.limits.equivalence_margin, self.about["accuracy"]["error_rate"])

    @property
    def labelled_warnings(self) -> tuple[LabelledTexts, ...]:
        return run_warnings(self.trials, self.cells, self.about)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What doubts all comparisons of the run."""
        return tuple(text for _, texts in self.labelled_warnings for text in texts)

    @property
    def nothing_yet(self) -> str:
        """That no cell was measured, and how to go on; empty where one was, or nothing is left to do."""
        left = len(self.about.get("trials", ())) - len(self.trials)
        given = str(self.about.get("command", "")).partition(" sweep ")[2]  # of the machine where the run was begun
        try:
            words = shlex.join(shlex.split(without_controls(given)))  # the run may be somebody else's
        except ValueError:
            words = ""
        command = f"{program()} sweep {words or 'PLAN'}"
        text = f"nothing measured yet: {counted(left, 'cell')} to do; continue with `{command}`"
        return text if left > 0 and not self.cells else ""

    @property
    def limits(self) -> Limits:
        return Limits(**self.about["limits"])

    @property
    def slo(self) -> SLO | None:
        """The SLO of the plan, if it has one."""
        return slo_of(self.about)


def slo_of(about: Mapping[str, Any]) -> SLO | None:
    limits = about.get("slo")
    return SLO(**limits) if limits else None


def read_results(folder: Path) -> Results:
    """Read `sweep.json` and the trials that it names; one that is missing is simply not there yet, one that is
    damaged is a failed row. Raises NoRun and NewerSchema.
    """
    about = read_run(folder)
    if missing := [name for name in NEEDED if name not in about]:
        raise NoRun(f"{folder / RUN_FILE}: it lacks `{missing[0]}`. {AGAIN}")
    named = [folder / "trials" / name for name in about["trials"]]
    files = [file for file in named if file.exists() or file.is_symlink()]
    trials = tuple(without_secrets(_trial_or_row(file, about)) for file in files)
    race = read_race(folder)
    with reading(folder, NoRun, AGAIN, "its results are damaged"):
        described = {**described_without_secrets(about), "files": [file.name for file in files]}
        results = conclude(described, trials, folder / "trials", race, control_of(folder, race))
        results.planned, results.conclusion, results.compared, results.warnings  # noqa: B018 (limits, SLO and price)
        return results


def _trial_or_row(file: Path, about: Mapping[str, Any]) -> Trial:
    """A trial that cannot be read is a row that says so."""
    try:
        return read_trial(file)
    except UnreadableTrial as error:
        return unreadable_row(file, error, about)


def conclude(
    about: Mapping[str, Any],
    trials: Sequence[Trial],
    beside: Path | None = None,
    race: RaceState | None = None,
    control: Trial | None = None,
) -> Results:
    """Compute every statistic, compare each cell with its model's baseline in the same engine, each of these with the
    model's reference, decide.

    `beside` is the folder of the trials' files of distributions.
    """
    trials = [_computed(trial, usable) for trial in told_apart(trials)]
    good = [trial for trial in trials if trial.status == "ok"]
    baselines = _baselines(good)
    good = with_compute_types(good, baselines)
    baselines, named = _baselines(good), {trial.key: trial for trial in good}
    trials = [named.get(trial.key, trial) for trial in trials]
    computed = [_computed(trial, lambda trial: cell_metrics(trial, baselines.get(trial.server))) for trial in good]
    cells = tuple(cell for cell in computed if isinstance(cell, CellMetrics))
    broken = {trial.key: trial for trial in computed if isinstance(trial, Trial)}
    trials = [broken.get(trial.key, trial) for trial in trials]
    measured = [cell.trial for cell in cells]
    models = speed_models([*measured, *([control] if control else [])], race.noise if race else None)
    cells = with_models(cells, models)
    far = distances(cells, beside) if beside else []
    doubts = {cell.trial.key: distrust(cell.trial, baselines.get(cell.trial.server), far) for cell in cells}
    losses, direct = engine_losses(cells, doubts), against_reference(cells, doubts)
    for left in race.left if race else ():  # after what is held against it: its answers are what they were
        if left.failed and left.key in doubts:
            doubts[left.key] = [*doubts[left.key], f"{left.why} (round {left.after_round})"]
    return Results(about, tuple(trials), cells, doubts, tuple(far), losses, direct, models, race, control)


def _computed(trial: Trial, compute: Callable[[Trial], T]) -> T | Trial:
    """What is computed of a trial; where that fails, for its samples are none of a measurement, a failed one."""
    try:
        with reading(f"the trial {trial.key}", UnreadableTrial, "Sweep again", "no figures can be computed of it"):
            return compute(trial)
    except UnreadableTrial as error:
        return replace(trial, status="failed", reason=str(error))


def _baselines(trials: Sequence[Trial]) -> dict[Server, Trial]:
    """By server; of several the plan's first one counts."""
    return {trial.server: trial for trial in reversed(trials) if trial.unquantized}
