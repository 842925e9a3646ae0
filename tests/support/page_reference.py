"""What Python concludes for a setting of the page, in the words of the page's script."""

from __future__ import annotations

from typing import Any

from evals.schema.slo import SLO
from reports.decision.frontier.frontiers import oriented, plots
from reports.decision.frontier.pareto import frontier
from reports.decision.ranking import Aim, candidates, ranked
from reports.decision.recommend import Answer, refusal, unless_shown
from reports.decision.results import Conclusion, Results, Setting
from reports.decision.verdicts import Limits
from reports.metrics.cost import Price, per_million

JS = dict[str, Any]
GROUPS = {"model": "model", "method": "method_label", "engine": "engine", "device": "device"}


def page_reference(results: Results, values: JS) -> JS:
    """The same by Python, from the trials."""
    limits = Limits(values["recovery"], values["perplexity"], values["kl"], memory_gib=values["memory"])
    has_slo = values["ttft"] is not None or values["tpot"] is not None
    service = SLO(values["ttft"], values["tpot"], values["percentile"]) if has_slo else None
    loads = list(dict.fromkeys(load.load for cell in results.cells for load in cell.loads))
    mix = {loads[int(number)]: share for number, share in values["mix"].items() if share > 0}
    price = None if values["price"] is None else Price(values["price"], "EUR", values["cost"])
    hidden = {
        cell.trial.key
        for cell in results.cells
        for group, names in values["without"].items()
        if getattr(cell.trial, GROUPS[group]) in names
    }
    planned = results.planned.aim
    tied = planned.tied if values["objective"] == planned.objective else {}
    setting = Setting(limits, Aim(values["objective"], service, mix, price, tied), frozenset(hidden))
    conclusion = results.under(setting)
    places = {cell.trial.key: number for number, cell in enumerate(results.cells)}
    answers = [_answer(answer, conclusion, results, places) for answer in conclusion.answers]
    return {
        "answers": answers,
        "chosen": answers[0]["chosen"],
        "rows": _rows(conclusion, answers, places),
        "frontiers": _frontiers(conclusion.allowed, price, mix, places),
    }


def _answer(answer: Answer, conclusion: Conclusion, results: Results, places: dict[str, int]) -> JS:
    """One model's cells in their order, with what is said of the first."""
    aim, price = conclusion.setting.aim, conclusion.setting.aim.price
    considered = candidates([j for j in conclusion.judged if j.cell.trial.model == answer.model], aim)
    best = unless_shown(ranked(considered, aim), aim)
    return {
        "ranked": [(places[a.key], a.figure.value, a.rate.low, a.rate.high, a.serves) for a in best],
        "violated": sorted(places[a.key] for a in considered if a.serves == "violated"),
        "costs": [
            per_million(a.rate, count, price).value
            for a in best
            if price and (count := a.judged.cell.trial.devices) is not None
        ],
        "chosen": answer.chosen.cell.trial.name if answer.chosen else None,
        "caveats": list(answer.caveats),
        "alternative": answer.alternative,
        "refusal": refusal(answer, results.models),
    }


def _rows(conclusion: Conclusion, answers: list[JS], places: dict[str, int]) -> dict[str, list[str]]:
    """Of every cell its verdict and why, by its number; of those that violate what is asked of loads, that they do."""
    violated = {place for answer in answers for place in answer["violated"]}
    reasons = {other.name: [other.verdict, other.why] for answer in conclusion.answers for other in answer.others}
    rows = {places[j.cell.trial.key]: (j.cell.trial.name, [j.verdict, j.why]) for j in conclusion.judged}
    return {str(place): reasons[name] if place in violated else row for place, (name, row) in rows.items()}


def _frontiers(allowed: Any, price: Price | None, mix: Any, places: dict[str, int]) -> dict[str, list[int]]:
    """On the axes of the plan's own figures."""
    if not allowed:
        return {}
    points = {plot.name: oriented(allowed, plot) for plot in plots("", "", price, mix)}
    return {name: sorted(places[point.key] for point in frontier(of_plot)) for name, of_plot in points.items()}
