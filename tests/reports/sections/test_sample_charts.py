"""Charts of raw samples: what is drawn is what was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evals.schema.load import LoadPoint, Request, Speed
from evals.schema.trial import Memory
from reports.metrics.divergence import Distance
from reports.sections.sample_charts import BINS, Curve, Panel, panels
from tests.support.made_trials import request, speed, trial

GIB = 1024**3


def _titled(charts: list[Panel], title: str) -> Panel:
    return next(panel for panel in charts if panel.title.startswith(title))


def test_percentiles_of_waits_are_told_for_every_load() -> None:
    result = replace(trial("none", 10, 1.0, 80), speed=(speed(10, 1), speed(20, 4)))
    charts = panels(result, [])
    ttft = _titled(charts, "TTFT")
    assert [curve.name for curve in ttft.curves] == ["concurrency 1", "concurrency 4"]
    percents, waits = zip(*ttft.curves[0].points, strict=True)
    assert (percents[0], percents[-1]) == (0, 100)
    assert waits == tuple(sorted(waits))
    assert waits[0] == pytest.approx(1000 / 10.1, rel=1e-6)
    assert ttft.y == "ms"
    assert [panel.title for panel in charts] == [
        "TTFT by percentile",
        "TPOT by percentile",
        "ITL over time at concurrency 4",
    ]


def test_a_stall_is_seen_where_it_was() -> None:
    """Tokens every 10 ms for two seconds, but for half a second from 1.0 on."""
    times = [0.01 * n + (0.5 if n >= 100 else 0.0) for n in range(1, 201)]
    record = Request(0.0, tuple((at, n + 1) for n, at in enumerate(times)), times[-1], 10, 200)
    speeds = (Speed(LoadPoint(1, 1, 10, 200), ((record,),)),)
    (curve,) = _titled(panels(replace(trial("none", 10, 1.0, 80), speed=speeds), []), "ITL").curves
    assert len(curve.points) < BINS  # nothing came during the stall
    assert sorted(gap for _, gap in curve.points)[0] == pytest.approx(10)
    gaps = [gap for gap in curve.points if gap[1] > 11]
    assert all(at > 1.4 for at, _ in gaps)


def test_memory_and_divergence_are_drawn_where_they_were_read() -> None:
    memory = Memory("PSS", GIB, 2 * GIB, None, None, None, samples=((0.0, GIB), (0.5, 2 * GIB)))
    result = replace(trial("rtn", 10, 1.0, 80), memory=memory)
    distance = Distance(
        "quantization", result.key, result.name, "none", "wiki", 2, None, "", None, None, None, 0, (0.1, 0.3)
    )
    charts = panels(result, [distance, replace(distance, key="another")])
    assert _titled(charts, "Memory").curves[0].points == ((0.0, 1.0), (0.5, 2.0))
    assert [curve.points for curve in _titled(charts, "KL").curves] == [((1.0, 0.1), (2.0, 0.3))]
    assert not [panel for panel in panels(trial("rtn", 10, 1.0, 80), []) if panel.title.startswith(("Memory", "KL"))]


def test_axes_begin_at_zero_and_hold_every_point() -> None:
    panel = Panel("", "", "", (Curve("", ((0.5, 3.0), (7.0, 1.0))),))
    assert panel.ticks[0] == (0.0, 2.0, 4.0, 6.0)
    assert panel.ticks[1][0] == 0.0
    assert panel.at(0, 0) == (48, 140)
    x, y = panel.at(7.0, 3.0)
    assert (x, 10 <= y < 20) == (310, True)
    assert panel.path(panel.curves[0]).startswith("M")
    flat = Panel("", "", "", (Curve("", ((0.0, 0.0),)),))
    assert flat.at(0, 0) == (48, 140)
    assert flat.ticks[0][0] == 0.0


def test_one_token_answers_have_no_gaps() -> None:
    short = request(0.0, 0.1, 0.1, 1)
    result = replace(trial("none", 10, 1.0, 80), speed=(Speed(LoadPoint(1, 1, 10, 1), ((short,),)),))
    assert [panel.title for panel in panels(result, [])] == ["TTFT by percentile"]
