from __future__ import annotations

import dataclasses

from evals.schema.accuracy import Score
from reports.decision.results import conclude
from reports.metrics.engine_drift import compare, drifts
from tests.support.made_trials import ABOUT, trial


def _shifted(score: Score, nats: float) -> Score:
    moved = tuple(tuple(value + nats for value in values) for values in score.loglikelihoods)
    return dataclasses.replace(score, loglikelihoods=moved)


def test_engines_come_first_and_each_has_its_reference() -> None:
    first, other = trial("none", 10, 1.0, 80), trial("none", 12, 1.0, 80, engine="f")
    other = dataclasses.replace(other, scores=(_shifted(other.scores[0], 0.25),))
    quantized = trial("rtn", 20, 1.0, 70, engine="f")
    results = drifts(conclude(ABOUT, [first, quantized, other]).cells)
    assert [(drift.kind, drift.name, drift.reference) for drift in results] == [
        ("engine", "none · f", "none · e"),
        ("quantization", "rtn · f", "none · f"),
    ]
    engine, quantization = results
    assert (engine.items, engine.changed, engine.mean_nats, engine.worst_nats) == (100, 0, 0.25, 0.25)
    assert quantization.changed == 10


def test_other_items_are_not_compared() -> None:
    result, other = trial("none", 10, 1.0, 80), trial("none", 10, 1.0, 80, engine="f")
    keys = tuple(f"{key}x" for key in other.scores[0].item_keys)
    other = dataclasses.replace(other, scores=(dataclasses.replace(other.scores[0], item_keys=keys),))
    assert compare(result, other).items == 0
    assert drifts(conclude(ABOUT, [result, other]).cells) == []


def test_a_cell_without_a_baseline_drifts_from_nothing() -> None:
    assert drifts(conclude(ABOUT, [trial("rtn", 10, 1.0, 80)]).cells) == []
