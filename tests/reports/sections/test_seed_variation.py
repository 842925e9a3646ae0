from __future__ import annotations

import dataclasses
from typing import Any

from evals.schema.trial import Trial
from reports.decision.results import conclude
from reports.output.html_report import contents, render
from reports.sections.published_values import anchored
from reports.sections.seed_variation import spreads
from tests.support.made_trials import ABOUT, trial


def _calibrated(seed: int, right: int, loss: float) -> Trial:
    result = trial("gptq", 10, 1, right, loss, label=f"gptq W4A16 seed {seed}")
    spec: dict[str, Any] = {
        "method": "gptq",
        "scheme": {"weights": "int4"},
        "calibration": {"seed": seed, "samples": 8},
    }
    return dataclasses.replace(result, checkpoint={**(result.checkpoint or {}), "spec": spec})


def test_one_method_over_its_seeds() -> None:
    trials = [trial("none", 10, 1, 80), _calibrated(0, 70, 2.2), _calibrated(1, 74, 2.1), trial("rtn", 10, 1, 60)]
    results = conclude(ABOUT, trials)
    accuracy, ratio = spreads(results.cells, results.distances)
    assert (accuracy.name, accuracy.figure, accuracy.seeds) == ("gptq W4A16", "mean accuracy", (0, 1))
    assert accuracy.values == (0.70, 0.74)
    assert round(accuracy.mean, 6) == 0.72
    assert ratio.figure == "perplexity ratio"
    page = render(contents(results), {})
    assert "Calibration seeds</h2>" in page
    assert "0, 1" in page


def test_one_seed_is_no_spread() -> None:
    assert spreads(conclude(ABOUT, [trial("none", 10, 1, 80), _calibrated(0, 70, 2.2)]).cells, ()) == []


def test_a_published_value_is_shown_beside_the_baseline() -> None:
    from evals.accuracy.published_perplexity import Anchor
    from evals.schema.accuracy import Perplexity

    base = trial("none", 10, 1, 80, model="org/known")
    perplexity = Perplexity("papers", "t", 129, 129, ((-2.0,) * 128,) * 8)
    cells = conclude(ABOUT, [dataclasses.replace(base, perplexities=(perplexity,))]).cells
    near, far, other = (
        Anchor(model, "unquantized", "papers", 129, value, "a paper")
        for model, value in (("org/Known", 7.39), ("org/Known", 9.0), ("org/other", 7.39))
    )
    anchors = anchored(cells, (near, far, other))
    assert [(round(anchor.measured, 3), anchor.published, anchor.agrees) for anchor in anchors] == [
        (7.389, 7.39, True),
        (7.389, 9.0, False),
    ]
    cut = dataclasses.replace(perplexity, max_tokens=1032)
    assert anchored(conclude(ABOUT, [dataclasses.replace(base, perplexities=(cut,))]).cells, (near,)) == []
