from __future__ import annotations

from dataclasses import replace

from evals.record import ClientLoad, Trial
from reports.decide import Limits, decide, judge, point_to_scored
from reports.metrics import cell_metrics
from tests.reports.made import trial

LIMITS = Limits(accuracy_recovery=0.9, perplexity_ratio=1.1)
BASE = trial("none", 10, 2.0, 80)


def _judge(*trials: Trial, base: Trial | None = BASE):  # type: ignore[no-untyped-def]
    return [judge(cell_metrics(one, base), LIMITS) for one in trials]


def test_the_fastest_that_does_not_fail_wins() -> None:
    good, broken = trial("good", 20, 1.0, 80, 2.01), trial("broken", 90, 0.2, 80, 4.0)
    judged = _judge(BASE, good, broken)
    assert [one.verdict for one in judged] == ["baseline", "meets", "fails"]
    answer = decide(judged)
    assert answer.chosen is not None
    assert answer.chosen.cell.trial.method == "good"
    assert answer.caveats == ()
    assert {name for _, name, _ in answer.best} == {"good · e"}


def test_a_cell_at_chance_never_wins() -> None:
    answer = decide(_judge(BASE, trial("garbage", 900, 0.1, 20, 2.0)))
    assert answer.chosen is not None
    assert answer.chosen.cell.trial.method == "none"


def test_a_cell_that_could_not_be_scored_names_where_its_file_was() -> None:
    file = {"key": "k", "spec": {"scheme": {"weights": "Q4_K_M"}}}
    there = replace(trial("gguf", 20, 1.0, 80, engine="llama_cpp"), checkpoint=file)
    silent = replace(trial("gguf", 30, 1.0, 80, engine="ollama"), checkpoint=file, scores=(), perplexities=())
    other = replace(silent, checkpoint={**file, "key": "another"})
    scored, same, alone = point_to_scored(_judge(there, silent, other))
    assert same.why.endswith("gives no log-probabilities; the same checkpoint was scored in 'gguf · llama_cpp'")
    assert "the same checkpoint" not in alone.why
    assert "the same checkpoint" not in scored.why


def test_an_undecided_limit_is_said() -> None:
    judged = _judge(BASE, trial("close", 20, 1.0, 72, 2.0))
    assert judged[1].verdict == "undecided"
    answer = decide(judged)
    assert any("undecided" in caveat for caveat in answer.caveats)


def test_overlapping_throughput_is_said() -> None:
    answer = decide(_judge(BASE, trial("a", 10.05, 1.0, 80, 2.0)))
    assert any("cannot be told from those of none" in caveat for caveat in answer.caveats)


def test_without_a_baseline_nothing_is_decided() -> None:
    (one,) = _judge(trial("alone", 20, 1.0, 80), base=None)
    assert one.verdict == "undecided"
    assert "no baseline" in one.why


def test_nothing_left_is_said() -> None:
    answer = decide([])
    assert answer.chosen is None
    assert answer.caveats == ("no cell was measured that keeps the limits",)


def test_what_is_wrong_with_the_winning_load_is_said() -> None:
    fast = trial("fast", 20, 1.0, 80, 2.0)
    slow_client = ClientLoad(1.0, 0.99, (0.0, 0.0, 0.0))
    watched = tuple(replace(one, clients=(slow_client,)) for one in fast.speed)
    answer = decide(_judge(BASE, replace(fast, speed=watched)))
    assert any(
        one.startswith("of fast · e at concurrency ") and "the load client was the bottleneck" in one
        for one in answer.caveats
    )
