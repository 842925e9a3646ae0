"""Every column and axis has its definition, every definition is shown somewhere, and the latencies are the code's."""

from __future__ import annotations

import re
from dataclasses import replace

from engines.runtime.own_packages import ROOT
from evals.schema.load import DEFINITIONS
from evals.schema.trial import Trial
from reports.decision.results import Results, conclude
from reports.metrics.definitions.table import definitions, of_axis, of_column
from reports.output.interactive_data import page_data
from reports.output.json_data import as_data
from reports.output.tabular import rows
from tests.support.made_trials import ABOUT, failed, score, trial
from tests.support.planted_page import page_trials

TEMPLATES = ROOT / "reports" / "output" / "templates"
PRICED = {**ABOUT, "price": {"per_device_hour": 2.0, "currency": "EUR"}}
OF_TEXTS = ("perplexity", "word_perplexity", "byte_perplexity", "f1")


def _all_figures() -> Results:
    """Of two models, with every kind of task."""
    scores = tuple(score(metric, [1.0, 2.0, 3.0], metric) for metric in OF_TEXTS)
    large = [replace(cell, scores=(*cell.scores, *scores)) for cell in (_large("none"), _large("rtn"))]
    about = {**PRICED, "models": ["m", "org/large"], "bytes_per_token": {"m": 4.0, "org/large": 3.5}}
    return conclude(about, [*page_trials(), *large, failed("awq", "it broke")])


def _large(method: str) -> Trial:
    return trial(method, 20, 14.0, 80, model="org/large")


def _columns(results: Results) -> set[str]:
    cells = as_data(results)["cells"]
    loads = [load for cell in cells for load in cell.get("loads", ())]
    shown = {name for row in (*rows(results), *cells, *loads) for name in row}
    return shown - {"load", "latency_seconds", "client_cores"} | {"load"}


def test_every_column_and_every_axis_has_a_definition_and_none_is_left_over() -> None:
    results = _all_figures()
    columns, chart = _columns(results), page_data(results)["chart"]
    axes = {axis["name"] for side in ("x", "y") for axis in chart[side]} | {"joules-0", "divergence"}
    assert [column for column in columns if of_column(column) is None] == []
    assert [axis for axis in axes if of_axis(axis) is None] == []
    assert {"word perplexity", "bits per byte", "perplexity of the last word"} <= {
        column.split(" ", 1)[1] for column in columns if " " in column
    }
    used = {entry.name for column in columns if (entry := of_column(column))}
    used |= {entry.name for axis in axes if (entry := of_axis(axis))}
    used |= {name for file in TEMPLATES.glob("*.html") for name in re.findall(r'explain\("(\w+)"\)', file.read_text())}
    assert set(definitions()) == used | {"baseline_ratio"}  # of a tile on the first screen


def test_the_ends_of_an_interval_are_of_its_figure() -> None:
    assert of_column("ttft_p99_seconds_high") == of_column("ttft_p50_seconds") == of_axis("ttft-0-99")
    assert of_column("nothing") is None
    assert of_axis("nothing") is None


def test_definitions_are_complete_and_short() -> None:
    for entry in definitions().values():
        assert entry.better in ("", "higher", "lower"), entry.name
        for text in (entry.formula, entry.source):
            assert 0 < len(text.split()) <= 25, entry.name
        assert not entry.formula.endswith("."), entry.name
    assert definitions()["tpot"].sense == "Unit: s (page: ms); lower is better."
    assert definitions()["cell"].sense == ""


def test_latencies_are_defined_as_the_code_defines_them() -> None:
    for label, formula in DEFINITIONS.items():
        entry = definitions()[label.lower()]
        assert entry.label == label
        assert entry.formula.startswith(formula)
