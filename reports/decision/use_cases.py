"""The field's typical uses as settings: what would be run for each, of the cells that keep the plan's limits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from evals.schema.slo import SLO
from reports.decision.caveats import figure_text
from reports.decision.ranking import OBJECTIVES, Aim, place_of
from reports.decision.recommend import Answer
from reports.decision.results import Results
from reports.decision.wording import fixed

# MLPerf Inference, Llama 2 70B in the server scenario, at a percentile that fewer requests tell
CHAT = SLO(ttft_seconds=2.0, tpot_seconds=0.2, percentile=95)


@dataclass(frozen=True)
class Use:
    """One use by its name, and what it asks for in a sentence."""

    name: str
    asks: str
    aim: Aim


@dataclass(frozen=True)
class Recommended:
    """The answer for one use and model."""

    use: Use
    answer: Answer

    @property
    def figure(self) -> str:
        won, objective = self.answer.won, self.answer.objective
        if won is None:
            return ""
        if self.use.aim.objective == "fidelity":  # which limits go by too: its interval tells
            ends = (won.figure.value, won.figure.low, won.figure.high)
            return "{} [{}, {}] ".format(*(fixed(end, "check") for end in ends)) + objective.unit
        at = place_of(won, self.use.aim)
        return f"{figure_text(won.figure.value, objective)} {objective.unit}" + (f" at {at}" if at else "")


def uses(results: Results) -> tuple[Use, ...]:
    """For a chat, with the SLO of the plan where it has one. Where all loads are open, none goes by output tokens/s:
    that is what was offered.
    """
    chat, planned, tied = results.slo or CHAT, results.planned.aim.objective, results.planned.aim.tied
    rated, rate = planned == "throughput", f"the {OBJECTIVES['throughput'].title}"
    batch = Use("offline batch", f"{rate}, regardless of latency", Aim("throughput", tied=tied))
    most = f"the {OBJECTIVES[planned].title}"
    return (
        *([batch] if rated else []),
        Use("chat", f"{rate} within the SLO" if rated else f"{most}, within the SLO", Aim(planned, chat, tied=tied)),
        _calm(results, Aim("latency", tied=tied if planned == "latency" else {})),
        Use("least memory", f"the {OBJECTIVES['memory'].title}", Aim("memory")),
        Use("research", "the quantized cell whose predictions are closest to the unquantized model's", Aim("fidelity")),
    )


def _calm(results: Results, aim: Aim) -> Use:
    """One user alone, where that was measured; else the lowest load that was."""
    loads = {cell.calmest.load.label: cell.calmest.load for cell in results.cells if cell.loads}
    goal = "the shortest time to a complete answer"
    if all(load.concurrency == 1 for load in loads.values()):
        return Use("lowest latency, single user", f"{goal}, without other users", aim)
    return Use("lowest latency", f"{goal} at {' or '.join(loads)}, the lowest load that was measured", aim)


def recommended(results: Results) -> list[Recommended]:
    """The answer of every model for every use."""
    planned = results.planned
    settings = [  # what tokens may cost holds for every use
        (use, replace(planned, aim=replace(use.aim, price=planned.aim.price))) for use in uses(results)
    ]
    return [Recommended(use, answer) for use, setting in settings for answer in results.under(setting).answers]
