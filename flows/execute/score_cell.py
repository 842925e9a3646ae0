"""What is scored in a cell's server: tasks, perplexities, and what is predicted on given prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engines.types import Endpoint
from evals.accuracy.adaptive_budget import Budget, spend
from evals.accuracy.contamination import Runs, shares_a_run
from evals.accuracy.divergence import PredictionSpec, Stage, prompts_of, read_predictions
from evals.accuracy.gates import apart_from_calibration, whole_contexts
from evals.accuracy.lm_eval_tasks import LoadedTasks, TaskSpec
from evals.accuracy.perplexity import TEXTS, PerplexitySpec, pairs_of, passes, perplexity_of, windows_of
from evals.api.tokenizers import added_ids, load_tokenizer
from evals.data.corpora import sha256_of
from evals.schema.accuracy import Perplexity, Predictions, Score
from evals.schema.trial import Gate
from evals.scoring.cache import Keep, keep_answers, keep_scores
from evals.scoring.generate import Prompt, generate
from evals.scoring.loglikelihood import score
from evals.scoring.types import Pair, Scored
from flows.execute.stages import Step, plainly
from flows.sources.models import Model


@dataclass(frozen=True)
class Scoring:
    """What is scored in every cell of a sweep. Without a `budget` every item of the tasks is."""

    window_tokens: int
    task_specs: tuple[TaskSpec, ...]
    tasks: LoadedTasks
    chat_template: bool
    perplexities: tuple[PerplexitySpec, ...]
    predictions: tuple[PredictionSpec, ...]
    data_root: Path | None
    budget: Budget | None


@dataclass(frozen=True)
class Target:
    """What belongs to one cell: the model, its baseline's scores (None for a baseline), where the server's answers are
    kept (None where nobody knows which server it is), the runs of its calibration text, how its files beside the trial
    begin, and its server's log.
    """

    model: Model
    baseline: Sequence[Score] | None
    answer_cache: Path | None
    calibration: Runs
    beside: Path
    log: Path


@dataclass(frozen=True)
class CellScores:
    """All scores of one cell, and the gates that only scoring can tell."""

    scores: tuple[Score, ...] = ()
    perplexities: tuple[Perplexity, ...] = ()
    predictions: tuple[Predictions, ...] = ()
    gates: tuple[Gate, ...] = ()


def score_cell(
    endpoint: Endpoint, folder: Path, scoring: Scoring, target: Target, stage: Stage, step: Step = plainly
) -> CellScores:
    """Score the served checkpoint in `folder`; a server without log-probabilities is asked for greedy answers alone."""
    arguments = (endpoint, folder, scoring, target, stage)
    predict = partial(step, "predictions", lambda: _read_predictions(*arguments)) if scoring.predictions else tuple
    if endpoint.dialect.prompt_logprobs == "none":
        # the report shows that nothing was measured; such a cell is never recommended
        return CellScores(predictions=predict())
    scores, gates = step("accuracy", lambda: _tasks(*arguments))
    perplexities, gate = step("perplexity", lambda: _perplexities(*arguments)) if scoring.perplexities else ([], [])
    return CellScores(tuple(scores), tuple(perplexities), predict(), (*gates, *gate))


def repeat_predictions(
    endpoint: Endpoint, folder: Path, scoring: Scoring, target: Target, stage: Stage
) -> tuple[Predictions, ...]:
    """The prompts of those that want it again, one at a time: what differs from the first reading is noise."""
    return _read_predictions(endpoint, folder, scoring, target, stage, repeat=True)


def _tasks(
    endpoint: Endpoint, folder: Path, scoring: Scoring, target: Target, stage: Stage
) -> tuple[list[Score], list[Gate]]:
    from evals.accuracy.lm_eval_model import EndpointLM, evaluate  # lm-eval takes seconds to import

    def scorer(pairs: Sequence[Pair]) -> list[Scored]:
        return _kept_scores(endpoint, target, pairs, stage("accuracy", len(pairs)))

    def generator(prompts: Sequence[Prompt]) -> list[str]:
        advance = stage("generation", len(prompts))

        def asking(missing: Sequence[Prompt], keep: Keep) -> list[str]:
            return generate(endpoint, missing, _noting(keep, advance))

        return keep_answers(target.answer_cache, prompts, asking)

    model = EndpointLM(folder, scorer, generator, scoring.window_tokens, target.calibration, target.model.folder)

    def of(chosen: Mapping[str, Sequence[int]] | None) -> list[Score]:
        return evaluate(model, scoring.tasks, scoring.task_specs, chosen, chat_template=scoring.chat_template)

    if scoring.budget is None or target.baseline is None:
        scores = of(None)
    else:
        scores = spend(of, scoring.tasks, target.baseline, scoring.budget)
    seen = model.seen
    gates = [whole_contexts(seen.cut, seen.requests, scoring.window_tokens)]
    if target.calibration:
        gates.append(apart_from_calibration(seen.calibrated, seen.requests))
    return scores, gates


def _noting(keep: Keep, advance: Callable[[int], None]) -> Callable[[Sequence[tuple[int, Any]]], None]:
    """What a client calls with what it has just finished: it is kept, and the bar moves."""

    def done(finished: Sequence[tuple[int, Any]]) -> None:
        keep(finished)
        advance(len(finished))

    return done


def _kept_scores(
    endpoint: Endpoint, target: Target, pairs: Sequence[Pair], advance: Callable[[int], None]
) -> list[Scored]:
    def asking(missing: Sequence[Pair], keep: Keep) -> list[Scored]:
        return score(endpoint, missing, _noting(keep, advance))

    return keep_scores(target.answer_cache, pairs, asking)


def _perplexities(
    endpoint: Endpoint, folder: Path, scoring: Scoring, target: Target, stage: Stage
) -> tuple[list[Perplexity], list[Gate]]:
    """All conventions from one set of passes over each text, and whether a text calibrated the checkpoint."""
    perplexities: list[Perplexity] = []
    shared = requests = 0
    for read in dict.fromkeys(TEXTS[spec.convention] for spec in scoring.perplexities):
        specs = [spec for spec in scoring.perplexities if TEXTS[spec.convention] is read]
        tokenizer, text = load_tokenizer(folder), read(scoring.data_root)
        ids, bos = tokenizer.encode(text).ids, next(iter(added_ids(tokenizer)), None)
        windows = [windows_of(spec, ids, bos) for spec in specs]
        needed = passes([window for group in windows for window in group])
        pairs = pairs_of(ids, needed)
        scores = _kept_scores(endpoint, target, pairs, stage("perplexity", len(pairs)))
        named = zip(specs, windows, strict=True)
        perplexities += [perplexity_of(spec, sha256_of(text), group, needed, scores) for spec, group in named]
        shared += sum(shares_a_run(pair, target.calibration) for pair in pairs)
        requests += len(pairs)
    return perplexities, [apart_from_calibration(shared, requests)] if target.calibration and requests else []


def _read_predictions(
    endpoint: Endpoint, folder: Path, scoring: Scoring, target: Target, stage: Stage, *, repeat: bool = False
) -> tuple[Predictions, ...]:
    tokenizer, readings = load_tokenizer(folder), []
    for number, spec in enumerate(scoring.predictions):
        if repeat and not spec.repeat:
            continue
        prompts = prompts_of(spec, tokenizer, scoring.data_root)
        file = target.beside.with_name(f"{target.beside.name}.{number}{'.repeat' if repeat else ''}.npz")
        readings.append(read_predictions(endpoint, spec, prompts, file, stage, repeat=repeat))
    return tuple(readings)
