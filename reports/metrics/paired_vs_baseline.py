"""Each quantized cell against the unquantized model in the same server, on the same items and tokens, with verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from evals.schema.trial import Trial
from evals.stats.cluster_bootstrap import blocks, compare_clusters
from evals.stats.group_sequential import compare_asked, follow
from evals.stats.intervals import Estimate
from evals.stats.paired_items import matched, trial_items
from evals.stats.paired_tests import Paired, Verdict, margin_of, verdicts
from reports.metrics.cell import BLOCK_TOKENS, CellMetrics, convention_name, same_text, token_differences
from reports.metrics.task_accuracy import is_adaptive


@dataclass(frozen=True)
class Flips:
    """One cell on one task of the plan. `adaptive`: the comparison stopped at a look, and its tests hold for that."""

    name: str
    reference: str
    task: str
    adaptive: bool
    paired: Paired


@dataclass(frozen=True)
class Likelihood:
    """One cell on one text: `ratio` of perplexities (cell ÷ baseline) over `clusters` documents or blocks of tokens.

    The tests are of the mean difference of log-likelihoods of a unit (token, word), the margin is log(1 + that of the
    plan).
    """

    name: str
    reference: str
    text: str
    ratio: Estimate
    clusters: int
    p_different: float
    p_equivalent: float
    verdict: Verdict = "inconclusive"


@dataclass(frozen=True)
class Compared:
    """All comparisons of a sweep. Questions are one family and likelihoods another: Holm's correction goes over each.

    So the family of questions is the one among which an adaptive budget shares out its error rate.
    """

    flips: tuple[Flips, ...]
    likelihoods: tuple[Likelihood, ...]


def compared(cells: Sequence[CellMetrics], relative_margin: float, error_rate: float) -> Compared:
    """All quantized cells on all tasks and texts that they share with their baseline."""
    flips: list[Flips] = []
    likelihoods: list[Likelihood] = []
    for cell in cells:
        if cell.reference is not None:
            flips += flips_between(cell.trial, cell.reference, relative_margin)
            likelihoods += likelihoods_between(cell.trial, cell.reference, relative_margin)
    pairs = [flip.paired for flip in flips]
    answers = verdicts([(p.p_different, p.p_equivalent, p.difference.value > 0) for p in pairs], error_rate)
    texts = verdicts(
        [(likelihood.p_different, likelihood.p_equivalent, likelihood.ratio.value < 1) for likelihood in likelihoods],
        error_rate,
    )
    return Compared(
        tuple(replace(flip, paired=replace(flip.paired, verdict=v)) for flip, v in zip(flips, answers, strict=True)),
        tuple(replace(likelihood, verdict=v) for likelihood, v in zip(likelihoods, texts, strict=True)),
    )


def flips_between(trial: Trial, reference: Trial, relative_margin: float) -> Iterator[Flips]:
    """On each task that both were asked, before any correction for their number."""
    theirs, adaptive = trial_items(reference), is_adaptive(trial)
    for task, ours in trial_items(trial).items():
        pairs = matched(ours, theirs[task]) if task in theirs else None
        if pairs is not None:
            margin = margin_of(theirs[task].values, relative_margin)
            comparison = follow(pairs, margin) if adaptive else compare_asked(pairs, margin)
            yield Flips(trial.name, reference.name, task, adaptive, comparison)


def likelihoods_between(trial: Trial, reference: Trial, relative_margin: float) -> Iterator[Likelihood]:
    """On each text that both have read, before any correction for their number."""
    for text, sums, sizes in (*_texts(trial, reference), *_documents(trial, reference)):
        difference = compare_clusters(sums, sizes, margin=math.log1p(relative_margin))
        ratio = difference.difference.map(lambda difference: math.exp(min(-difference, 700.0)))
        yield Likelihood(
            trial.name,
            reference.name,
            text,
            ratio,
            difference.difference.count,
            difference.p_different,
            difference.p_equivalent,
        )


Differences = tuple[str, list[float], list[float]]  # name, summed differences of each cluster, units in each


def _texts(trial: Trial, reference: Trial) -> Iterator[Differences]:
    """WikiText-2 in each convention, in blocks of consecutive tokens."""
    for ours in trial.perplexities:
        theirs = next((perplexity for perplexity in reference.perplexities if same_text(perplexity, ours)), None)
        if theirs is not None:
            yield f"wikitext2 ({convention_name(ours)})", *blocks(token_differences(ours, theirs), BLOCK_TOKENS)


def _documents(trial: Trial, reference: Trial) -> Iterator[Differences]:
    """Tasks of log-likelihoods: LAMBADA's last words, wikitext's pages by their words."""
    known = {score.task: score for score in reference.scores}
    for ours in trial.scores:
        theirs = known.get(ours.task)
        if theirs is None or theirs.item_keys != ours.item_keys or theirs.metrics != ours.metrics:
            continue
        for metric in {"perplexity", "word_perplexity"} & {*ours.metrics}:
            sums = [a[0] - b[0] for a, b in zip(ours.loglikelihoods, theirs.loglikelihoods, strict=True)]
            if metric == "word_perplexity":
                yield f"{ours.task} (by words)", sums, [row[ours.metrics.index(metric)] for row in ours.values]
            else:
                yield f"{ours.task} (by items)", sums, [1.0] * len(ours.values)
