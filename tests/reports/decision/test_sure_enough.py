"""What is recommended while limits are in doubt, and while no quantization is shown to be better."""

from __future__ import annotations

from evals.schema.trial import Trial
from reports.decision.ranking import Aim
from reports.decision.recommend import decide, refusal
from reports.decision.verdicts import Judged, Limits, judge
from reports.metrics.cell import cell_metrics
from tests.support.made_trials import trial

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
        f"no recommendation yet: close · e would be first, but it is not known well enough that it keeps all "
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
    assert answer.caveats[1].startswith("its 10.0 output tokens/s is not significantly different from that of equal")
    assert decide([base, equal, faster]).chosen is faster
    assert decide([base, equal], Aim("memory")).chosen is equal
    assert decide([base, equal], Aim("fidelity")).chosen is equal
