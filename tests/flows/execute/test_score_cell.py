"""A candidate's cell over the emulator: its budget, its baseline, its gates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.runtime.server import serve
from engines.types import Endpoint, Serving
from evals.accuracy.adaptive_budget import Budget
from evals.accuracy.contamination import runs
from evals.accuracy.divergence import PredictionSpec
from evals.accuracy.lm_eval_tasks import TaskSpec, load_tasks
from evals.accuracy.perplexity import PerplexitySpec
from evals.api.tokenizers import load_tokenizer
from flows.execute.score_cell import CellScores, Scoring, Target, repeat_predictions, score_cell
from flows.sources.models import Model
from tests.support.datasets import write_data_root
from tests.support.fake_engine import CPU, HERE, fake_engine


def _scoring(tmp_path: Path) -> Scoring:
    specs = (TaskSpec("arc_easy"),)
    tasks = load_tasks(specs, write_data_root(tmp_path), tmp_path / "work", seed=0)
    (tmp_path / "mine.jsonl").write_text('{"prompt": "a b c d"}')
    closeness = PredictionSpec(tmp_path / "mine.jsonl", 1, 8, 2, 4, 0, repeat=False)
    return Scoring(64, specs, tasks, False, (), (closeness,), None, None)


def _score(tmp_path: Path, folder: Path, scoring: Scoring, target: Target, strategy: str = "score") -> CellScores:
    engine = fake_engine("good", strategy, top_tokens=-1 if strategy == "score" else 0)  # type: ignore[arg-type]

    def at(endpoint: Endpoint) -> CellScores:
        return score_cell(endpoint, folder, scoring, target, lambda name, total: lambda count: None)

    with serve(engine, HERE, Serving(tmp_path, CPU, 1, 64), {}, log=tmp_path / "log") as (endpoint, _):
        scored = at(endpoint)
        assert repeat_predictions(endpoint, folder, scoring, target, lambda name, total: lambda count: None) == ()
    return scored


def _target(tmp_path: Path, folder: Path) -> Target:
    model = Model("tiny", folder, "digest", {}, "")
    return Target(model, None, None, frozenset(), tmp_path / "trial", tmp_path / "log")


def test_a_candidate_is_scored_against_its_baseline(tmp_path: Path, tiny_model: Path) -> None:
    scoring, target = _scoring(tmp_path), _target(tmp_path, tiny_model)
    base = _score(tmp_path, tiny_model, scoring, target)
    assert [gate.name for gate in base.gates] == ["whole contexts"]
    adaptive = replace(scoring, budget=Budget(0.05, 0.01, 1))
    same = _score(tmp_path, tiny_model, adaptive, replace(target, baseline=base.scores))
    assert {*same.scores[0].item_keys} == {*base.scores[0].item_keys}  # nine questions have one look
    assert same.predictions[0].file == "trial.0.npz"
    assert (tmp_path / "trial.0.npz").exists()


def test_what_calibrated_it_is_found(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.accuracy.contamination.RUN_TOKENS", 3)  # the questions are short here
    scoring, target = _scoring(tmp_path), _target(tmp_path, tiny_model)
    ids = load_tokenizer(tiny_model).encode("Question: what is 3?\nAnswer: one").ids
    gates = _score(tmp_path, tiny_model, scoring, replace(target, calibration=runs([ids]))).gates
    assert [(gate.name, gate.passed) for gate in gates] == [("whole contexts", True), ("apart from calibration", False)]


def test_a_server_without_log_probabilities_is_asked_for_answers_alone(tmp_path: Path, tiny_model: Path) -> None:
    scoring = replace(_scoring(tmp_path), perplexities=(PerplexitySpec("papers", 4, 4),))
    scored = _score(tmp_path, tiny_model, scoring, _target(tmp_path, tiny_model), "none")
    assert (scored.scores, scored.perplexities, scored.gates) == ((), (), ())
    assert scored.predictions[0].greedy == ("the capital is",)


@pytest.mark.parametrize("first", ["papers", "llama.cpp"])
def test_all_conventions_come_from_one_text(tmp_path: Path, tiny_model: Path, first: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "root" / "Salesforce" / "wikitext" / "wikitext-2-raw-v1"
    scoring = _scoring(tmp_path)
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"text": ["a b c d e f " * 4]}), folder / "test-00000-of-00001.parquet")
    specs = (PerplexitySpec(first, 8, 8), PerplexitySpec("strided", 8, 4))  # type: ignore[arg-type]
    scoring = replace(scoring, perplexities=specs, data_root=tmp_path / "root")
    perplexities = _score(tmp_path, tiny_model, scoring, _target(tmp_path, tiny_model)).perplexities
    assert [perplexity.convention for perplexity in perplexities] == [first, "strided"]
    total = len(load_tokenizer(tiny_model).encode("a b c d e f " * 4).ids)
    assert sum(map(len, perplexities[1].tokens)) == total - 1
