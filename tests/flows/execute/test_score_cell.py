"""A candidate's cell over the emulator: its budget, its baseline, its gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engines.runtime.server import serve
from engines.types import Serving
from evals.accuracy.adaptive_budget import Budget
from evals.accuracy.contamination import runs
from evals.accuracy.divergence import PredictionSpec
from evals.accuracy.perplexity import PerplexitySpec
from evals.api.tokenizers import load_tokenizer
from evals.schema.part import Part
from evals.tasks.loaded_tasks import TaskSpec, load_tasks
from flows.execute.keys import PartRequest, Subject, TextSpec
from flows.execute.score_cell import Scoring, Target, predict, score_task, score_text, scoring_gates
from flows.sources.models import Model
from tests.support.datasets import write_data_root
from tests.support.fake_engine import CPU, HERE, fake_engine

TASK = TaskSpec("arc_easy")


def _scoring(tmp_path: Path) -> Scoring:
    tasks = load_tasks((TASK,), write_data_root(tmp_path), tmp_path / "work", seed=0)
    (tmp_path / "mine.jsonl").write_text('{"prompt": "a b c d"}')
    return Scoring(64, tasks, False, None, None)


def _score(
    tmp_path: Path, folder: Path, scoring: Scoring, target: Target, *subjects: Subject, strategy: str = "score"
) -> list[Part]:
    """Each subject as a part, from one server."""
    engine = fake_engine("good", strategy, top_tokens=-1 if strategy == "score" else 0)  # type: ignore[arg-type]
    parts = []
    with serve(engine, HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        arguments = endpoint, folder, scoring, target
        for number, subject in enumerate(subjects):
            request = PartRequest(f"part {number}", {}, {"number": str(number)}, subject)
            blank = Part(request.key, request.name, request.inputs)
            if isinstance(subject, TaskSpec):
                parts.append(score_task(*arguments, subject, blank, _stage))
            elif isinstance(subject, TextSpec):
                parts.append(score_text(*arguments, subject.conventions, blank, _stage))
            else:
                parts.append(predict(*arguments, request, blank, _stage))
    return parts


def _stage(name: str, total: int) -> Callable[[int], None]:
    return lambda count: None


def _target(tmp_path: Path, folder: Path) -> Target:
    model = Model("tiny", folder, "digest", {}, "")
    (tmp_path / "trials").mkdir(exist_ok=True)
    return Target(model, None, None, frozenset(), tmp_path, "cell", (), {}, None, tmp_path / "log")


def test_a_candidate_is_scored_against_its_baseline(tmp_path: Path, tiny_model: Path) -> None:
    scoring, target = _scoring(tmp_path), _target(tmp_path, tiny_model)
    (base,) = _score(tmp_path, tiny_model, scoring, target, TASK)
    assert [gate.name for gate in scoring_gates([base], 64, calibrated=False)] == ["whole contexts"]
    adaptive = replace(scoring, budget=Budget(0.05, 0.01, 1))
    spec = PredictionSpec(tmp_path / "mine.jsonl", 1, 8, 2, 4, 0, repeat=False)
    same, read = _score(tmp_path, tiny_model, adaptive, replace(target, baseline=base.scores), TASK, spec)
    assert {*same.scores[0].item_keys} == {*base.scores[0].item_keys}  # nine questions have one look
    assert read.predictions[0].file == f"cell.{read.key[:12]}.npz"
    assert (tmp_path / "trials" / read.predictions[0].file).exists()


def test_what_calibrated_it_is_found(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.accuracy.contamination.RUN_TOKENS", 3)  # the questions are short here
    scoring, target = _scoring(tmp_path), _target(tmp_path, tiny_model)
    ids = load_tokenizer(tiny_model).encode("Question: what is 3?\nAnswer: one").ids
    parts = _score(tmp_path, tiny_model, scoring, replace(target, calibration=runs([ids])), TASK)
    gates = scoring_gates(parts, 64, calibrated=True)
    assert [(gate.name, gate.passed) for gate in gates] == [("whole contexts", True), ("apart from calibration", False)]


def test_a_server_without_log_probabilities_is_asked_for_answers_alone(tmp_path: Path, tiny_model: Path) -> None:
    scoring, target = _scoring(tmp_path), _target(tmp_path, tiny_model)
    text = TextSpec((PerplexitySpec("papers", 4, 4),))
    spec = PredictionSpec(tmp_path / "mine.jsonl", 1, 8, 2, 4, 0, repeat=False)
    *scored, read = _score(tmp_path, tiny_model, scoring, target, TASK, text, spec, strategy="none")
    assert [(part.scores, part.perplexities) for part in scored] == [((), ()), ((), ())]
    assert scoring_gates(scored, 64, calibrated=True) == ()
    assert read.predictions[0].greedy == ("the capital is",)


@pytest.mark.parametrize("first", ["papers", "llama.cpp"])
def test_all_conventions_come_from_one_text(tmp_path: Path, tiny_model: Path, first: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "root" / "Salesforce" / "wikitext" / "wikitext-2-raw-v1"
    scoring = _scoring(tmp_path)
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"text": ["a b c d e f " * 4]}), folder / "test-00000-of-00001.parquet")
    specs = (PerplexitySpec(first, 8, 8), PerplexitySpec("strided", 8, 4))  # type: ignore[arg-type]
    scoring = replace(scoring, data_root=tmp_path / "root")
    (part,) = _score(tmp_path, tiny_model, scoring, _target(tmp_path, tiny_model), TextSpec(specs))
    perplexities = part.perplexities
    assert [perplexity.convention for perplexity in perplexities] == [first, "strided"]
    total = len(load_tokenizer(tiny_model).encode("a b c d e f " * 4).ids)
    assert sum(map(len, perplexities[1].tokens)) == total - 1
