"""What is recommended while limits are in doubt, and while no quantization is shown to be better."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from evals.schema.load import Speed
from evals.schema.slo import SLO
from evals.schema.trial import Trial
from evals.stats.intervals import Estimate
from reports.decision.caveats import figure_text, may_be_equal
from reports.decision.ranking import OBJECTIVES, Aim
from reports.decision.recommend import decide, refusal, widening
from reports.decision.verdicts import Judged, Limits, judge
from reports.metrics.cell import cell_metrics
from tests.support.made_trials import speed, trial

LIMITS = Limits(accuracy_recovery=0.9, perplexity_ratio=1.1)
BASE = trial("none", 10, 2.0, 80)


def _judge(*trials: Trial) -> list[Judged]:
    return [judge(cell_metrics(result, BASE), LIMITS) for result in trials]


def test_nothing_is_recommended_while_no_cell_keeps_the_limits_with_nine_in_ten() -> None:
    """Half of such cells keep a recovery of 0.9; what is known to comes before it."""
    base, judged = _judge(BASE, trial("close", 20, 1.0, 72, 2.01))
    assert judged.verdict == "inconclusive"
    answer = decide([judged])
    assert answer.chosen is None
    assert answer.open_cells == ("close · e",)
    assert refusal(answer, ["m"]).startswith(
        f"no recommendation yet: close · e would be first, but it is not certain enough that it meets all "
        f"that is asked for (probability at least {judged.kept_with:.2f}; 0.9 is needed): accuracy recovered "
    )
    assert refusal(answer, ["m", "n"]).startswith("no recommendation yet for ")
    assert [(other.name, other.verdict) for other in answer.others] == [("close · e", "inconclusive")]
    both = decide([base, judged])
    assert both.chosen is base
    assert both.open_cells == ("close · e",)


def test_a_cell_that_keeps_its_limits_with_nine_in_ten_is_recommended_and_that_is_said() -> None:
    """Its interval still holds the limit."""
    base, near = _judge(BASE, trial("near", 20, 1.0, 76, 2.01))
    assert near.verdict == "inconclusive"
    assert near.kept_with > 0.9
    answer = decide([base, near])
    assert answer.chosen is near
    assert answer.open_cells == ()
    (caveat,) = answer.caveats
    assert caveat.startswith(f"whether near · e meets the limits is inconclusive (probability {near.kept_with:.2f}): ")


def test_the_unquantized_model_is_the_answer_unless_something_is_shown_to_be_better() -> None:
    """10.05 against 10 tokens/s, with intervals of some percent; and 20 against 10."""
    base, equal, faster = _judge(BASE, trial("equal", 10.05, 1.0, 80, 2.01), trial("faster", 20, 1.0, 80, 2.01))
    answer = decide([base, equal])
    assert answer.chosen is base
    assert answer.caveats[0] == "no quantization is shown to be better; equal · e may be"
    assert answer.caveats[1].startswith(
        "its figure, 10.0 output tokens/s, is not significantly different from that of equal"
    )
    assert decide([base, equal, faster]).chosen is faster
    assert decide([base, equal], Aim("memory")).chosen is equal
    assert decide([base, equal], Aim("fidelity")).chosen is equal
    assert figure_text(1.0004, OBJECTIVES["fidelity"]) == "1.000"  # as limits show it, and never a bare 1


def test_the_fastest_of_equal_cells_is_seldom_said_to_be_better() -> None:
    """Normal logarithms of standard error 0.05: the best of ten quantized cells against the unquantized one."""
    draws = 100 * np.exp(0.05 * np.random.default_rng(5).standard_normal((4000, 11)))
    half = math.exp(0.05 * 1.959964)
    shown = {1.0: 0, widening(10): 0}
    for plain, *quantized in draws.tolist():
        pair = [Estimate(rate, rate / half, rate * half, 99) for rate in (plain, max(quantized))]
        for widened in shown:
            shown[widened] += pair[1].value > pair[0].value and not may_be_equal(*pair, widened)
    assert shown[1.0] / 4000 > 0.1
    assert shown[widening(10)] / 4000 < 0.025
    assert widening(1) == 1.0


def test_a_faster_cell_of_which_the_slo_is_in_doubt_is_an_alternative_and_no_equal() -> None:
    """Of four requests the p90 may be anything."""
    certain = replace(trial("certain", 20, 1.0, 80, 2.01), speed=(_many(20),))
    answer = decide(_judge(certain, trial("open", 1200, 1.0, 80, 2.01)), Aim(slo=SLO(None, 0.1, 90)))
    assert answer.won is not None
    assert answer.won.name == "certain · e"
    assert answer.open_cells == ("open · e",)
    assert answer.alternative == (
        "or, if open · e meets all that is asked for (probability at least 0.50), open · e is 50 % faster"
    )
    assert not any("open" in caveat for caveat in answer.caveats)


def _many(rate: float) -> Speed:
    made = speed(rate)
    return replace(made, repeats=tuple(repeat * 40 for repeat in made.repeats))
