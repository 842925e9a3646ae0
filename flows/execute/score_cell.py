"""What is scored in a cell's server: tasks, perplexities, and what is predicted on given prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engines.types import Endpoint
from evals.accuracy.adaptive_budget import Budget, spend
from evals.accuracy.contamination import Runs, shares_a_run
from evals.accuracy.divergence import PredictionSpec, Stage, prompts_of, read_predictions
from evals.accuracy.gates import apart_from_calibration, whole_contexts
from evals.accuracy.perplexity import TEXTS, PerplexitySpec, pairs_of, passes, perplexity_of, windows_of
from evals.api.tokenizers import added_ids, load_tokenizer
from evals.data.corpora import sha256_of
from evals.schema.accuracy import Score
from evals.schema.part import Part
from evals.schema.trial import Gate
from evals.scoring.cache import Keep, keep_answers, keep_scores
from evals.scoring.generate import Prompt, generate
from evals.scoring.loglikelihood import score
from evals.scoring.types import Pair, Scored
from evals.tasks.loaded_tasks import LoadedTasks, TaskSpec
from flows.execute.keys import PartRequest
from flows.sources.models import Model
from quant.checkpoints.configuration import needs_bos
from quant.checkpoints.detect import read_config


@dataclass(frozen=True)
class Scoring:
    """What is scored in every cell of a sweep. Without a `budget` every item of the tasks is."""

    window_tokens: int
    tasks: LoadedTasks
    chat_template: bool
    data_root: Path | None
    budget: Budget | None


@dataclass(frozen=True)
class Target:
    """What belongs to one cell: the model, its baseline's scores (None for a baseline), where the server's answers are
    kept (None where nobody knows which server it is), the runs of its calibration text, the run's folder and how the
    names of the cell's files in it begin, what is measured, when, where and by which commit, the memory's bandwidth
    (None where no part needs it), and its server's log.
    """

    model: Model
    baseline: Sequence[Score] | None
    answer_cache: Path | None
    calibration: Runs
    run: Path
    slug: str
    parts: tuple[PartRequest, ...]
    measured: Mapping[str, Any]
    bandwidth: Mapping[str, Any] | None
    log: Path

    @property
    def folder(self) -> Path:
        """Where finished parts are."""
        return self.run / "parts"


def score_task(
    endpoint: Endpoint, folder: Path, scoring: Scoring, target: Target, spec: TaskSpec, blank: Part, stage: Stage
) -> Part:
    """A task of the served checkpoint in `folder`. Nothing of it is known of a server without log-probabilities: the
    report shows that, and such a cell is never recommended.
    """
    if endpoint.dialect.prompt_logprobs == "none":
        return blank
    from evals.accuracy.lm_eval_model import EndpointLM, evaluate  # lm-eval takes seconds to import

    def scorer(pairs: Sequence[Pair]) -> list[Scored]:
        return _kept_scores(endpoint, target, pairs, stage("accuracy", len(pairs)))

    def generator(prompts: Sequence[Prompt]) -> list[str]:
        advance = stage("generation", len(prompts))

        def asking(missing: Sequence[Prompt], keep: Keep) -> list[str]:
            return generate(endpoint, missing, _noting(keep, advance))

        return keep_answers(target.answer_cache, prompts, asking)

    model = EndpointLM(folder, scorer, generator, scoring.window_tokens, target.calibration, target.model.folder)
    tasks = scoring.tasks.only(spec.name)

    def of(chosen: Mapping[str, Sequence[int]] | None) -> list[Score]:
        return evaluate(model, tasks, chosen, chat_template=scoring.chat_template)

    if scoring.budget is None or target.baseline is None:
        scores = of(None)
    else:
        scores = spend(of, tasks, target.baseline, scoring.budget)
    seen = model.seen
    return replace(blank, scores=tuple(scores), requests=seen.requests, cut=seen.cut, calibrated=seen.calibrated)


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


def score_text(
    endpoint: Endpoint,
    folder: Path,
    scoring: Scoring,
    target: Target,
    specs: Sequence[PerplexitySpec],
    blank: Part,
    stage: Stage,
) -> Part:
    """All conventions of one text from one set of passes over it."""
    if endpoint.dialect.prompt_logprobs == "none":
        return blank
    tokenizer, text = load_tokenizer(folder), TEXTS[specs[0].convention](scoring.data_root)
    ids, bos = tokenizer.encode(text).ids, next(iter(added_ids(tokenizer)), None)
    needs = needs_bos(read_config(target.model.folder))
    windows = [windows_of(spec, ids, bos, needs_bos=needs) for spec in specs]
    needed = passes([window for group in windows for window in group])
    pairs = pairs_of(ids, needed)
    scores = _kept_scores(endpoint, target, pairs, stage("perplexity", len(pairs)))
    named = zip(specs, windows, strict=True)
    return replace(
        blank,
        perplexities=tuple(perplexity_of(spec, sha256_of(text), group, needed, scores) for spec, group in named),
        requests=len(pairs),
        calibrated=sum(shares_a_run(pair, target.calibration) for pair in pairs),
    )


def predict(
    endpoint: Endpoint, folder: Path, scoring: Scoring, target: Target, request: PartRequest, blank: Part, stage: Stage
) -> Part:
    """What is predicted on a set of prompts; again one prompt at a time, so that what differs then is noise."""
    spec = request.subject
    assert isinstance(spec, PredictionSpec)
    prompts = prompts_of(spec, load_tokenizer(folder), scoring.data_root)
    file = target.run / "trials" / f"{target.slug}.{request.key[:12]}.npz"
    made = read_predictions(endpoint, spec, prompts, file, stage, repeat=request.again)
    return replace(blank, predictions=(made,))


def scoring_gates(parts: Sequence[Part], window_tokens: int, *, calibrated: bool) -> tuple[Gate, ...]:
    """What only scoring can tell of a cell: whether contexts were whole, and apart from what calibrated it."""
    gates = []
    tasks = [part for part in parts if part.scores]
    if tasks:
        gates.append(whole_contexts(sum(p.cut for p in tasks), sum(p.requests for p in tasks), window_tokens))
    for kind in (tasks, [part for part in parts if part.perplexities]):
        if kind and calibrated:
            gates.append(apart_from_calibration(sum(p.calibrated for p in kind), sum(p.requests for p in kind)))
    return tuple(gates)
