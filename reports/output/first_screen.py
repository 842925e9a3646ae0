"""What the first screen of the page says: what was run where and when, and the recommendation in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.schema.trial import Trial
from evals.stats.paired_items import trial_items
from quant.errors import counted
from reports.decision.caveats import figure_text
from reports.decision.ranking import Candidate
from reports.decision.recommend import Answer
from reports.decision.results import Results
from reports.decision.wording import say
from reports.metrics.cell import CellMetrics, Quality
from reports.metrics.cost import per_million
from reports.metrics.figures_of_merit import needed_gib
from reports.metrics.ratios import ratio_of_means
from reports.output.formatting import duration, figures_interval, interval, number
from reports.output.formatting import figure as significant_figure
from reports.output.formatting import needed_gib as needed_text
from reports.rounds.summary import paired_ratio
from reports.sections.durations import spent

OWN_BASELINE = "unquantized in the same engine"
# definitions of what is to be best, but for output tokens/s
ABOUT = {"latency": "compared_e2e", "capacity": "within", "memory": "needed_memory", "fidelity": "perplexity_ratio"}


@dataclass(frozen=True)
class Tile:
    """One figure of the recommended cell: what it is, its value (in two lines for two kinds of quality), its interval
    with the name of what it is held against, and the name of its definition.
    """

    label: str
    value: str
    detail: str
    about: str


@dataclass(frozen=True)
class Line:
    """What is said beside the tiles, under a label of a few words: the first text is seen, the others are folded."""

    label: str
    texts: tuple[str, ...]
    is_warning: bool = False


def lines(results: Results, answer: Answer) -> list[Line]:
    """Of one answer; those of the whole run stand beside the first one."""
    shown: dict[tuple[str, bool], list[str]] = {}
    if answer.chosen:
        for label, caveat in zip(answer.caveat_labels, answer.caveats, strict=True):
            shown.setdefault((label, True), []).append(caveat)
    if answer.alternative:
        shown["Alternative", False] = [answer.alternative.removeprefix("or, ")]
    if answer.runner_up and answer.ratio and answer.runner_up.name not in answer.alternative:
        ratio = f"{interval(answer.ratio)} times its {answer.objective.unit}{answer.runner_up.apart}"
        shown["Runner-up", False] = [f"{answer.runner_up.name}: {ratio}"]
    if answer is results.answers[0]:
        for label, texts in results.labelled_warnings:
            shown.setdefault((label, True), []).extend(texts)
        if notes := results.about["notes"]:
            shown["Notes", False] = [*notes]
    return [Line(label, tuple(texts), is_warning) for (label, is_warning), texts in shown.items()]


def facts(results: Results) -> list[tuple[str, str]]:
    """Model, machine, date, duration, versions and what quality was scored on, by their labels; what is not known is
    left out.
    """
    origins = [trial.provenance.get("measured") or {} for trial in results.trials]
    days = sorted({origin["started"][:10] for origin in origins if origin.get("started")})  # in UTC
    took = sum(part.seconds for part in spent(results.trials, results.control))
    cells = counted(len(results.trials), "cell")
    pairs = [
        ("Model", ", ".join(results.models)),
        ("Machine", f"{results.about['device']}, {counted(results.about['threads'], 'thread')}"),
        ("Measured", " to ".join(dict.fromkeys((days[0], days[-1]))) if days else ""),
        ("Time", f"{duration(took)} of quantizing and measuring, {cells}") if took >= 1 else ("Cells", cells),
        ("Versions", _versions(results)),
        ("Quality from", scored_on([cell.trial for cell in results.cells])),
    ]
    return [(label, text) for label, text in pairs if text]


def _versions(results: Results) -> str:
    """Of this program, and of every engine that says its own."""
    engines: dict[str, dict[str, None]] = {}
    for trial in results.trials:
        if version := trial.facts.get("version"):
            engines.setdefault(trial.engine, {})[str(version)] = None
    own = results.about["versions"].get("bitfrontier")
    named = [f"{engine} {' and '.join(versions)}" for engine, versions in engines.items()]
    return ", ".join([*([f"bitfrontier {own}"] if own else []), *named])


def scored_on(trials: Sequence[Trial]) -> str:
    """How many questions of how many tasks, and how many tokens of text, the trial answered that answered most."""
    counts = [
        (
            sum(len(items.values) for items in tasks.values()),
            len(tasks),
            sum(len(window) for perplexity in trial.perplexities for window in perplexity.tokens),
        )
        for trial in trials
        for tasks in (trial_items(trial),)
    ]
    questions, tasks, tokens = max(counts, default=(0, 0, 0))
    asked = [f"{questions:,} questions of {counted(tasks, 'task')}"] if questions else []
    return " and ".join(asked + ([f"{tokens:,} tokens of text"] if tokens else []))


def tiles(results: Results, answer: Answer) -> list[Tile]:
    """Throughput against the baseline, memory, quality lost and, with a price, cost; none where no cell was chosen."""
    if answer.chosen is None or answer.won is None:
        return []
    cell, reference = answer.chosen.cell, answer.chosen.cell.reference
    base = next((other for other in results.cells if reference and other.trial.key == reference.key), None)
    shown = [_speed(results, answer, answer.won, base), _memory(cell, base), _quality(results, cell)]
    cost = _cost(answer, answer.won)
    return [*shown, cost] if cost else shown


def _speed(results: Results, answer: Answer, won: Candidate, base: CellMetrics | None) -> Tile:
    objective = answer.objective
    if answer.aim.objective not in ("throughput", "per-device"):
        detail = f"{interval(won.figure)} {objective.unit}"
        return Tile(
            objective.title.capitalize(), figure_text(won.figure.value, objective), detail, ABOUT[answer.aim.objective]
        )
    at = f"{interval(won.rate)} output tokens/s at {won.at}"
    load = won.loads[0].load
    slower = next((other for other in base.loads if other.load == load), None) if base else None
    if base is None or slower is None or len(won.loads) != 1:
        return Tile("Throughput", f"{number(won.rate.value)} tokens/s", at, "output_rate")
    fitted = results.speed_models.get(load, {}).get("output rate")
    ratio = paired_ratio(fitted, won.key, base.trial.key) if fitted else None
    ratio = ratio or ratio_of_means(won.rate, slower.output_rate)
    against = f"[{number(ratio.low)}, {number(ratio.high)}] × {base.trial.name}, {OWN_BASELINE}"
    return Tile("Throughput", f"{number(ratio.value)} × own baseline", f"{against}; {at}", "baseline_ratio")


def _memory(cell: CellMetrics, base: CellMetrics | None) -> Tile:
    ours, theirs = needed_gib(cell), needed_gib(base) if base else None
    if ours is None:
        return Tile("Needed memory", "–", "not measured", "needed_memory")
    share = (
        f"{100 * ours.value / theirs.value:.0f} % of the {theirs.value:.2f} GiB of {base.trial.name}"
        if base and theirs
        else ""
    )
    bounds = f"{needed_text(cell.trial)} GiB" if ours.low < ours.high else ""
    return Tile(
        "Needed memory", f"{ours.value:.2f} GiB", "; ".join(part for part in (bounds, share) if part), "needed_memory"
    )


def _quality(results: Results, cell: CellMetrics) -> Tile:
    """Against the model's reference where it was compared with that, else against its own baseline: perplexity, whose
    log-likelihoods tell more than answers, and the accuracy of answers, which is what users know.
    """
    direct = results.direct.get(cell.trial.key)
    against = direct.reference if direct else cell.reference.name if cell.reference else ""
    own = Quality(cell.recovery, cell.perplexity_ratio, cell.nothing_recovered)
    quality = direct.quality if direct else own
    if not against:
        return Tile("Quality lost", "none", f"it is {say('baseline')}", "against_reference")
    kinds = (("perplexity", quality.perplexity_ratio), ("accuracy", quality.recovery))
    lost = {name: ratio.map(lambda value: 100 * (value - 1)) for name, ratio in kinds if ratio is not None}
    if not lost:
        return Tile("Quality lost", "–", f"not measured against {against}", "against_reference")
    values = "\n".join(f"{share.value:+.1f} % {name}" for name, share in lost.items())
    bounds = ", ".join(f"{name} [{share.low:+.1f}, {share.high:+.1f}] %" for name, share in lost.items())
    role = "the model's reference" if direct else OWN_BASELINE
    own_about = "perplexity_ratio" if quality.perplexity_ratio is not None else "recovery"
    about = "against_reference" if direct else own_about
    return Tile("Quality lost", values, f"{bounds}, paired, against {against}, {role}", about)


def _cost(answer: Answer, won: Candidate) -> Tile | None:
    price, devices = answer.aim.price, won.judged.cell.trial.devices
    if price is None or devices is None:
        return None
    cost = per_million(won.rate, devices, price)
    at = f"per million output tokens at {won.at}: {figures_interval(cost)}"
    return Tile("Cost", f"{significant_figure(cost.value)} {price.currency}", at, "cost")
