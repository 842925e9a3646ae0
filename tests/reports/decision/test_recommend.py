from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from evals.schema.load import ClientLoad, LoadPoint, Speed
from evals.schema.slo import SLO, Search, SearchRange
from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from reports.decision.caveats import may_be_equal
from reports.decision.ranking import Aim
from reports.decision.recommend import decide
from reports.decision.results import read_results
from reports.decision.use_cases import uses
from reports.decision.verdicts import Limits, judge, point_to_scored
from reports.metrics.cell import cell_metrics
from reports.metrics.cost import Price
from tests.support.made_runs import write_run
from tests.support.made_trials import request, speed, trial

LIMITS = Limits(accuracy_recovery=0.9, perplexity_ratio=1.1)
BASE = trial("none", 10, 2.0, 80)


def _judge(*trials: Trial, base: Trial | None = BASE):  # type: ignore[no-untyped-def]
    return [judge(cell_metrics(result, base), LIMITS) for result in trials]


def test_the_fastest_that_does_not_fail_wins() -> None:
    good, broken = trial("good", 20, 1.0, 80, 2.01), trial("broken", 90, 0.2, 80, 4.0)
    judged = _judge(BASE, good, broken)
    assert [judgement.verdict for judgement in judged] == ["baseline", "meets", "fails"]
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


def test_a_cell_that_meets_comes_before_a_faster_one_whose_quality_is_undecided() -> None:
    """101 against 100 tokens/s: the fastest that meets is named, the other one as what it is."""
    judged = _judge(BASE, trial("meets", 100, 1.0, 80, 2.01), trial("open", 101, 0.5, 72, 2.01))
    assert [judgement.verdict for judgement in judged] == ["baseline", "meets", "inconclusive"]
    answer = decide(judged)
    assert answer.chosen is judged[1]
    assert answer.alternative == (
        "or, if the quality of open · e is acceptable, open · e may be 1.0 % faster, not significantly"
    )
    assert {name for _, name, _ in answer.best} == {"meets · e"}
    assert answer.caveats == ()
    memory = decide(judged, Aim("memory"))
    assert memory.chosen is judged[1]
    assert memory.alternative.endswith("open · e needs 50 % less memory")
    slower = decide(_judge(BASE, trial("meets", 100, 1.0, 80, 2.01), trial("open", 99, 0.5, 72, 2.01)))
    assert slower.alternative == ""
    assert slower.runner_up is not None
    assert (slower.runner_up.name, answer.worst_loss is not None) == ("none · e", True)


def test_the_alternative_is_a_cell_without_doubts_before_a_doubtful_one_that_is_slower() -> None:
    """The unquantized cell is recommended, for none is shown to be faster: of those ahead, the likelier comes first."""
    wide = replace(speed(20), repeats=(*speed(16).repeats, *speed(25).repeats))
    base = replace(BASE, speed=(wide,))
    cells = [trial("likely", 22, 1.0, 80, 2.01), trial("open", 21, 0.5, 72, 2.01), trial("slow", 5, 1.0, 80, 2.01)]
    answer = decide(_judge(base, *cells, base=base))
    assert answer.chosen is not None
    assert answer.chosen.cell.trial is base
    assert answer.alternative.startswith("or, by the measured value alone, likely · e may be ")
    assert answer.alternative.endswith(" % faster, not significantly")


def test_equals_of_a_race_are_no_alternatives_of_each_other() -> None:
    judged = _judge(BASE, trial("a", 20, 1.0, 80, 2.01), trial("b", 21, 1.0, 80, 2.01))
    tied = {judged[1].cell.trial.key: 0, judged[2].cell.trial.key: 1}
    answer = decide(judged, Aim(tied=tied))
    assert (answer.chosen, answer.alternative) == (judged[1], "")


def test_overlapping_throughput_is_said() -> None:
    answer = decide(_judge(BASE, trial("a", 20, 1.0, 80, 2.01), trial("b", 20.1, 1.0, 80, 2.01)))
    assert any("is not significantly different from that of a" in caveat for caveat in answer.caveats)


@pytest.mark.parametrize(
    ("less", "more", "equal"),
    [
        ((72, 65, 80), (88, 79, 97), False),  # the intervals overlap, that of the ratio ends below 1
        ((75, 65, 86), (84, 75, 94), True),
        ((72, 65, 80), (88, 84, 92), False),
        ((0, 0, 1), (2, 1, 3), True),
        ((1, 1, math.inf), (9, 8, 10), True),
        ((8, 8, 16), (16, 16, 32), False),  # of a search: 16 is too much for the first, and the second takes it
        ((8, 8, 17), (16, 16, 32), True),
        ((8, 8, 8), (8, 8, 8), True),
    ],
)
def test_equal_is_what_the_interval_of_the_ratio_says(
    less: tuple[float, ...], more: tuple[float, ...], equal: bool
) -> None:
    assert may_be_equal(Estimate(*less, 3), Estimate(*more, 3)) is equal


def test_without_a_baseline_nothing_is_decided() -> None:
    (judgement,) = _judge(trial("alone", 20, 1.0, 80), base=None)
    assert judgement.verdict == "inconclusive"
    assert "no baseline" in judgement.why


def test_nothing_left_is_said() -> None:
    answer = decide([])
    assert answer.chosen is None
    assert answer.caveats == ("no measured cell meets the limits",)


def test_what_is_wrong_with_the_winning_load_is_said() -> None:
    fast = trial("fast", 20, 1.0, 80, 2.01)
    slow_client = ClientLoad(1.0, 0.99, (0.0, 0.0, 0.0))
    watched = tuple(replace(measurement, clients=(slow_client,)) for measurement in fast.speed)
    answer = decide(_judge(BASE, replace(fast, speed=watched)))
    assert any(
        caveat.startswith("of fast · e at concurrency ") and "the load generator was the bottleneck" in caveat
        for caveat in answer.caveats
    )


def _at(rate: float, concurrency: int) -> Speed:
    """Waits of all requests are alike, so many of them that a percentile has an interval."""
    measurement = speed(rate, concurrency)
    return replace(measurement, repeats=tuple(repeat * 40 for repeat in measurement.repeats))


def test_what_users_were_promised_decides_the_load() -> None:
    """`fast` gives most at concurrency 4, where it is too slow for its users; `steady` keeps the promise there."""
    fast = replace(trial("fast", 20, 1.0, 80, 2.01), speed=(_at(30, 1), _at(4, 4)))
    steady_one = replace(trial("steady", 20, 1.0, 80, 2.01), speed=(_at(12, 1), _at(20, 4)))
    never = replace(trial("never", 20, 1.0, 80), speed=(_at(2, 1),))
    judged = _judge(fast, steady_one, never)
    service = SLO(None, 0.1, 90)  # 10 tokens a second
    answer = decide(judged, Aim(slo=service))
    assert answer.chosen is judged[0]
    assert answer.won is not None
    assert answer.won.loads[0].load.concurrency == 1
    assert [(other.name, other.verdict) for other in answer.others] == [("steady · e", "meets"), ("never · e", "fails")]
    assert answer.runner_up is answer.others[0]
    apart = " at concurrency 4 against concurrency 1"
    why = f"0.67 times the chosen one's output tokens/s{apart} (5.00 times with both at concurrency 4); accuracy"
    assert answer.others[0].why.startswith(why)
    assert answer.others[0].apart == apart
    assert answer.others[1].why == "it meets the SLO under no load"
    assert answer.others[1].figure is None
    nobody = decide(judged, Aim(slo=SLO(None, 0.001, 90)))
    assert (nobody.chosen, nobody.caveats) == (None, ("no cell meets the SLO",))
    assert len(nobody.others) == 3


def test_a_promise_that_so_few_requests_do_not_tell_is_said() -> None:
    """Of four requests the p90 may be anything."""
    few, sure = trial("few", 30, 1.0, 80, 2.01), replace(trial("sure", 20, 1.0, 80, 2.01), speed=(_at(20, 1),))
    service = SLO(None, 0.1, 90)
    alone = decide(_judge(few), Aim(slo=service))
    assert alone.chosen is None
    assert "whether it meets the SLO is inconclusive; measure more requests and repeats" in alone.caveats[0]
    both = decide(_judge(few, sure), Aim(slo=service))
    assert both.chosen is not None
    assert both.chosen.cell.trial.method == "sure"
    assert "whether it meets the SLO is inconclusive" in both.others[0].why


def test_what_tokens_may_cost_is_kept_at_the_load_that_is_recommended() -> None:
    """At 14.4 an hour a million tokens cost 4,000 ÷ their rate, of which forty at once have forty times as much."""
    price = Price(14.4, "EUR", max_cost_per_million_tokens=8.0)
    cheap = replace(trial("cheap", 20, 1.0, 80, 2.01), speed=(_at(5, 1), _at(20, 4)))
    near = replace(trial("near", 20, 1.0, 80, 2.01), speed=(_at(12.5, 4),))
    answer = decide(_judge(BASE, cheap, near), Aim(price=price))
    assert answer.chosen is not None
    assert answer.chosen.cell.trial.method == "cheap"
    assert answer.won is not None
    assert answer.won.loads[0].load.concurrency == 4
    assert [other.name for other in answer.others] == ["near · e", "none · e"]
    assert "; whether it meets the cost limit is inconclusive" in answer.others[0].why
    assert (answer.others[1].verdict, answer.others[1].why) == ("fails", "it meets the cost limit under no load")
    promised = Aim(price=replace(price, max_cost_per_million_tokens=1.0), slo=SLO(10.0, None, 50))
    assert decide(_judge(cheap), promised).caveats == ("no cell meets the SLO and the cost limit",)
    mix = {cheap.speed[0].load: 9.0, cheap.speed[1].load: 1.0}
    assert decide(_judge(cheap), Aim(price=price, mix=mix)).chosen is None
    somewhere = decide(_judge(replace(cheap, provenance={"attached": True})), Aim(price=price))
    assert somewhere.chosen is None
    caveat = "whether it meets the cost limit is inconclusive; on how many devices it ran is not known"
    assert caveat in somewhere.caveats[0]


def test_memory_is_a_limit_of_baselines_too() -> None:
    limits = replace(LIMITS, memory_gib=1.5)
    cells = [
        cell_metrics(result, BASE) for result in (BASE, trial("small", 5, 1.0, 80, 2.01), trial("large", 50, 1.6, 80))
    ]
    judged = [judge(cell, limits) for cell in cells]
    assert [judgement.verdict for judgement in judged] == ["fails", "meets", "fails"]
    assert judged[0].why == "needed memory in GiB 2.000 [2.000, 2.000], at most 1.5"
    answer = decide(judged)
    assert answer.chosen is judged[1]
    assert [other.why for other in answer.others] == [judged[0].why, judged[2].why]
    unseen = judge(cell_metrics(replace(trial("small", 5, 1.0, 80, 2.01), memory=None), BASE), limits)
    assert (unseen.verdict, unseen.why) == ("inconclusive", "its memory was not measured")


def test_how_much_is_lost_if_the_answer_is_wrong() -> None:
    answer = decide(_judge(BASE, trial("fast", 20, 1.0, 80, 2.01), trial("garbage", 900, 0.1, 20)))
    assert answer.runner_up is not None
    assert (answer.runner_up.name, answer.runner_up.verdict) == ("none · e", "baseline")
    ratio = answer.ratio
    assert ratio is not None
    assert ratio.low < ratio.value < ratio.high
    assert ratio.value == pytest.approx(0.5, abs=0.01)
    assert answer.others[1].name == "garbage · e"
    assert "accuracy recovered 0.250" in answer.others[1].why
    once = replace(trial("once", 10, 1.0, 80), speed=(replace(speed(10), repeats=speed(10).repeats[:1]),))
    unknown = decide(_judge(trial("fast", 20, 1.0, 80, 2.01), once)).ratio
    assert unknown is not None
    assert (unknown.low, unknown.high) == (0.0, math.inf)


def test_the_worst_loss_is_against_all_that_may_be_the_best() -> None:
    """The second by its value is known well; the third, little behind it, may be twice as fast as the first."""
    fast = trial("fast", 100, 1.0, 80, 2.01)
    sure = replace(trial("sure", 99, 1.0, 80, 2.01), speed=(speed(99, wobble=0.001),))
    unsure = replace(trial("unsure", 98, 1.0, 80, 2.01), speed=(speed(98, wobble=0.1),))
    fast = replace(fast, speed=(speed(100, wobble=0.001),))
    pair, all_of_them = decide(_judge(BASE, fast, sure)), decide(_judge(BASE, fast, sure, unsure))
    assert pair.runner_up is not None
    assert all_of_them.runner_up is not None
    assert pair.runner_up.name == all_of_them.runner_up.name == "sure · e"
    assert pair.worst_loss is not None
    assert all_of_them.worst_loss is not None
    assert all_of_them.worst_loss > 0.4 > pair.worst_loss
    undecided = replace(unsure, scores=trial("open", 98, 1.0, 72).scores)  # it is no better for being faster
    again = decide(_judge(BASE, fast, sure, undecided))
    assert again.worst_loss == pytest.approx(pair.worst_loss, abs=0.05)


def _offered(waits: float) -> Speed:
    """Five requests a second are answered by any server that keeps up."""
    repeat = tuple(replace(request(0.2 * n, 0.2 * n + waits, 0.01, 11), due_seconds=0.2 * n) for n in range(60))
    return Speed(LoadPoint(None, 60, 10, 11, 5.0, "constant"), (repeat,) * 3)


def test_open_loads_alone_rank_by_latency_or_capacity(tmp_path: Path) -> None:
    """Both give what was offered; one answers in a third of the time, the other takes more load."""
    slow, quick = (
        replace(trial("none", 1, 1.0, 80, engine=engine), speed=(_offered(waits),))
        for engine, waits in (("slow", 0.3), ("quick", 0.1))
    )
    results = read_results(write_run(tmp_path / "latency", slow, quick))
    assert results.planned.aim.objective == "latency"
    (answer,) = results.conclusion.answers
    assert answer.won is not None
    assert answer.won.name == "none · quick"
    assert "offline batch" not in {use.name for use in uses(results)}
    within, limits = SearchRange("rate", 1, 8, 60, 10, 11), SLO(0.5, None, 90)

    def searched(row: Trial, rate: float) -> Trial:
        probe = replace(_offered(0.1), load=replace(_offered(0.1).load, rate_per_second=rate))
        return replace(row, searches=(Search(within, limits, (probe,), (probe,)),))

    slo = {"ttft_seconds": 0.5, "tpot_seconds": None, "percentile": 90}
    results = read_results(write_run(tmp_path / "capacity", searched(slow, 8.0), searched(quick, 4.0), slo=slo))
    assert results.planned.aim.objective == "capacity"
    (answer,) = results.conclusion.answers
    assert answer.won is not None
    assert (answer.won.name, answer.won.figure.value) == ("none · slow", 8.0)
    closed = replace(quick, speed=(*quick.speed, speed(10)))
    assert read_results(write_run(tmp_path / "closed", slow, closed)).planned.aim.objective == "throughput"
