"""What an engine itself loses bars its cells; several models have an answer each."""

from __future__ import annotations

from dataclasses import replace

from evals.schema.trial import Trial
from reports.decision.results import Results, conclude
from reports.decision.use_cases import recommended
from reports.output.html_report import by_model, contents, render
from reports.output.interactive_data import page_data
from reports.output.json_data import as_data
from tests.support.made_trials import ABOUT, score, trial


def _verdicts(results: Results) -> dict[str, str]:
    return {judgement.cell.trial.name: judgement.verdict for judgement in results.judged}


def test_an_engine_that_loses_accuracy_by_itself_bars_its_cells() -> None:
    """A unquantized 60 %, B unquantized 48 %: fp8 in B keeps all of B's 48 %, at five times A's speed."""
    results = conclude(
        ABOUT,
        [
            trial("none", 10, 2.0, 60, engine="A"),
            trial("rtn", 20, 1.0, 60, 2.001, engine="A"),
            trial("none", 50, 2.0, 48, engine="B"),
            trial("fp8", 100, 1.0, 48, 2.001, engine="B"),
        ],
    )
    assert _verdicts(results) == {"none · A": "baseline", "rtn · A": "meets", "none · B": "fails", "fp8 · B": "fails"}
    barred = results.judged[3]
    assert barred.cause == "engine"
    assert barred.why.startswith("accuracy recovered against none · A 0.800 [")
    assert "; engine B itself loses accuracy: accuracy recovered 0.800 [" in barred.why
    assert barred.why.endswith("(unquantized, against none · A)")
    assert results.answer.chosen is results.judged[1]
    assert [other.why for other in results.answer.others if other.name == "fp8 · B"] == [barred.why]
    row = next(row for row in as_data(results)["cells"] if row["cell"] == "fp8 · B")
    assert (row["cause"], row["why"]) == ("engine", barred.why)


def _answers(cell: Trial, right: int) -> Trial:
    """Of 2,000 questions."""
    return replace(cell, scores=(score("arc", [1.0] * right + [0.0] * (2000 - right)),), perplexities=())


def _small_losses(right: int) -> Results:
    """A unquantized 60 %, B unquantized 57.6 %: it recovers 0.96."""
    return conclude(
        ABOUT | {"limits": {"accuracy_recovery": 0.94, "perplexity_ratio": 1.1}},
        [
            _answers(trial("none", 10, 2.0, 60, engine="A"), 1200),
            _answers(trial("none", 50, 2.0, 60, engine="B"), 1152),
            _answers(trial("fp8", 100, 1.0, 60, engine="B"), right),
        ],
    )


def test_two_losses_that_each_meet_the_limit_fail_it_together() -> None:
    """fp8 in B recovers 0.958 of B's own and 0.92 of what users of A get."""
    results = _small_losses(1104)
    assert _verdicts(results) == {"none · A": "baseline", "none · B": "baseline", "fp8 · B": "fails"}
    assert results.judged[2].cell.recovery is not None
    assert results.judged[2].cell.recovery.low > 0.94
    assert results.judged[2].why.startswith("accuracy recovered against none · A 0.920 [")
    assert results.judged[2].cause == "cell"
    row = next(row for row in as_data(results)["cells"] if row["cell"] == "fp8 · B")
    assert row["against_reference"]["quality"]["recovery"]["value"] == 1104 / 1200
    assert "against its own baseline" in render(contents(results), {})


def test_what_quantization_gains_makes_up_for_what_the_engine_loses() -> None:
    results = _small_losses(1200)
    assert _verdicts(results)["fp8 · B"] == "meets"
    assert "against none · A 1.000 [" in results.judged[2].why


def test_a_cell_without_a_baseline_in_its_engine_is_held_against_the_reference() -> None:
    results = conclude(ABOUT, [trial("none", 10, 2.0, 60, engine="A"), trial("fp8", 100, 1.0, 20, 2.001, engine="B")])
    assert _verdicts(results) == {"none · A": "baseline", "fp8 · B": "fails"}


def _asked_less(cell: Trial, items: int, drawn: int) -> Trial:
    """As an adaptive budget leaves it that stopped early."""
    (asked,) = cell.scores
    few = {name: getattr(asked, name)[:items] for name in ("item_keys", "values", "loglikelihoods")}
    return replace(cell, scores=(replace(asked, drawn=drawn, **few),))


def test_of_items_that_a_budget_left_out_the_losses_of_engine_and_cell_are_multiplied() -> None:
    *baselines, fp8 = _small_losses(1104).trials
    results = conclude(ABOUT, [*baselines, _asked_less(fp8, 900, 2000)])
    (direct,) = results.direct.values()
    own = results.judged[2].cell.recovery
    assert direct.quality.recovery is not None
    assert own is not None
    assert direct.quality.recovery.value == 0.96 * own.value
    assert direct.quality.recovery.low < min(0.96 * own.value, own.low)
    assert "recovered against none · A 0.960 [" in results.judged[2].why


def test_items_that_a_missing_baseline_drew_are_held_against_nothing() -> None:
    """They are the undecided ones of a baseline that is not there: a biased sample."""
    reference, _, fp8 = _small_losses(1104).trials
    results = conclude(ABOUT, [reference, _asked_less(fp8, 900, 2000)])
    assert results.direct == {}
    assert results.judged[1].verdict == "inconclusive"


def test_a_budget_that_left_items_out_hides_no_perplexity() -> None:
    """×1.045 by the engine and ×1.045 by the method: each is within 1.05, what users get is not."""
    trials = [
        trial("none", 10, 2.0, 60, 2.0, engine="A"),
        trial("none", 50, 2.0, 60, 2.044, engine="B"),
        _asked_less(trial("fp8", 100, 1.0, 60, 2.088, engine="B"), 60, 100),
    ]
    about = ABOUT | {"limits": {"accuracy_recovery": 0.5, "perplexity_ratio": 1.05}}
    judged = conclude(about, trials).judged[2]
    assert judged.verdict == "fails"
    assert judged.why.startswith("perplexity ratio against none · A 1.09")


def test_what_a_ruined_cell_lost_is_its_own_whatever_its_engine_may_have_lost() -> None:
    judged = conclude(
        ABOUT,
        [
            trial("none", 10, 2.0, 60, engine="A"),
            trial("none", 50, 2.0, 58, engine="B"),
            trial("fp8", 100, 1.0, 18, engine="B"),
        ],
    ).judged
    assert judged[1].verdict == "inconclusive"
    assert (judged[2].verdict, judged[2].cause) == ("fails", "cell")


def test_what_is_undecided_of_an_engine_no_cell_in_it_can_better() -> None:
    results = conclude(
        ABOUT | {"limits": {"accuracy_recovery": 0.98, "perplexity_ratio": 1.1}},
        [
            trial("none", 10, 2.0, 60, engine="A"),
            trial("none", 50, 2.0, 59, engine="B"),
            trial("fp8", 100, 1.0, 59, 2.001, engine="B"),
        ],
    )
    assert _verdicts(results) == {"none · A": "baseline", "none · B": "inconclusive", "fp8 · B": "inconclusive"}
    assert results.judged[1].why.startswith("whether engine B itself loses accuracy is inconclusive: ")
    assert results.answer.chosen is results.judged[0]
    assert "fp8 · B is 900 % faster" in results.answer.alternative


def test_the_reference_is_transformers_else_the_most_accurate() -> None:
    """Two engines that answer alike lose nothing, however few the items."""
    ours = [trial("none", 10, 2.0, right, engine=name) for right, name in ((60, "A"), (50, "transformers"), (50, "B"))]
    by_transformers = conclude(ABOUT, ours)
    assert {loss.reference for loss in by_transformers.losses.values()} == {"none · transformers"}
    assert _verdicts(by_transformers) == {
        "none · A": "baseline",
        "none · transformers": "baseline",
        "none · B": "baseline",
    }
    without = conclude(ABOUT, [ours[2], ours[0]])
    assert {loss.reference for loss in without.losses.values()} == {"none · A"}


def test_an_engine_that_was_not_scored_is_not_known_to_lose_nothing() -> None:
    silent = replace(trial("none", 50, 2.0, 60, engine="B"), scores=(), perplexities=())
    results = conclude(ABOUT, [trial("none", 10, 2.0, 60, engine="A"), silent])
    assert _verdicts(results) == {"none · A": "baseline", "none · B": "inconclusive"}
    assert "is not known" in results.judged[1].why
    assert conclude(ABOUT, [silent]).judged[0].verdict == "baseline"  # nothing to be held against


def _two_models() -> Results:
    large = [trial("none", 20, 14.0, 80, model="org/large"), trial("rtn", 45, 4.0, 80, 2.001, model="org/large")]
    small = [trial("none", 300, 0.3, 50, model="org/small"), trial("rtn", 500, 0.1, 50, 2.001, model="org/small")]
    sizes = {"org/large": 4.0, "org/small": 2.0}
    return conclude({**ABOUT, "models": [*sizes], "bytes_per_token": sizes}, [*large, *small])


def test_several_models_have_an_answer_each_and_no_winner_across() -> None:
    """7B at 80 % and 45 tokens/s, 0.1B at 50 % and 500 tokens/s: these are two questions."""
    results = _two_models()
    chosen = [answer.chosen.cell.trial.name for answer in results.answers if answer.chosen]
    assert chosen == ["large · rtn · e", "small · rtn · e"]
    for answer in results.answers:
        assert {other.model for other in answer.others} == {answer.model}
        assert answer.runner_up is not None
        assert answer.runner_up.name.endswith("none · e")
    *own, across = results.frontiers
    for frontier in own:
        assert len({standing.model for standing in frontier.standings}) == 1
    assert across.plot.title == "Accuracy against text, all models"
    titles = {frontier.plot.title for frontier in results.frontiers}
    assert {"Memory against throughput: large", "Memory against throughput: small"} <= titles
    assert len({frontier.plot.name for frontier in results.frontiers}) == len(results.frontiers)
    assert [recommendation.answer.model for recommendation in recommended(results)][:2] == ["org/large", "org/small"]


def test_page_and_json_hold_both_answers() -> None:
    results = _two_models()
    data = as_data(results)
    assert data["answer"] is None
    assert [answer["cell"] for answer in data["answers"]] == ["large · rtn · e", "small · rtn · e"]
    page = render(contents(results), {})
    assert "Recommended: <strong>rtn</strong> in <strong>e</strong> for large" in page
    assert "Recommended: <strong>rtn</strong> in <strong>e</strong> for small" in page
    *_, (together, rows) = by_model(results.frontiers)
    assert [frontier.plot.name for frontier in together] == ["accuracy-text"]
    assert len(rows) == 4


def test_across_models_accuracy_stands_against_text_not_tokens() -> None:
    """100 tokens/s of four bytes are as much text as 200 of two: the more accurate one is above."""
    models = {"large": 4.0, "small": 2.0}
    trials = [
        trial("none", rate, 1.0, right, model=name) for name, rate, right in (("large", 100, 80), ("small", 200, 50))
    ]
    results = conclude({**ABOUT, "models": [*models], "bytes_per_token": models}, trials)
    across = results.frontiers[-1]
    rates = [across.plot.x.read(cell) for cell in results.cells]
    assert [round(rate.value) for rate in rates if rate] == [400, 400]
    assert [round(cell["textRate"][0]) for cell in page_data(results)["cells"]] == [400, 400]
    older = conclude({**ABOUT, "models": [*models]}, trials)
    assert "accuracy-text" not in [frontier.plot.name for frontier in older.frontiers]


def test_two_models_that_end_alike_keep_their_whole_names() -> None:
    results = conclude(ABOUT, [trial("none", 1, 1.0, 80, model=model) for model in ("a/x", "b/x")])
    assert [result.name for result in results.trials] == ["a/x · none · e", "b/x · none · e"]


def test_a_cell_is_dominated_only_where_its_printed_probability_is_small() -> None:
    """A little larger and, by value, a little slower: memory is exact, and yet it may well be the faster one."""
    cells = [
        trial("none", 10, 2.0, 80),
        trial("a", 20, 1.0, 80, 2.001),
        trial("b", 19.9, 1.1, 80, 2.001),
        trial("c", 15, 1.2, 80, 2.001),
    ]
    front = next(front for front in conclude(ABOUT, cells).frontiers if front.plot.name == "memory-throughput")
    standings = {standing.name: standing for standing in front.standings}
    assert standings["b · e"].odds is not None
    assert standings["b · e"].odds > 0.05
    assert (standings["b · e"].on, standings["b · e"].dominated) == (False, False)
    assert standings["c · e"].dominated
    assert front.open == ["b · e"]
