"""Reads lm-eval's result file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evals.stats.paired_items import ACCURACY_METRICS
from reports.compare.foreign_types import Foreign, ForeignScore


def read_lm_eval(raw: Mapping[str, Any]) -> Foreign:
    counts = raw.get("n-samples") or {}
    scores = [_lm_eval_score(task, metrics, counts.get(task)) for task, metrics in raw["results"].items()]
    model = (raw.get("config") or {}).get("model_args") or raw.get("model_name") or ""
    return Foreign("lm-eval", str(model), scores=tuple(score for score in scores if score is not None))


def _lm_eval_score(task: str, metrics: Mapping[str, Any], counts: Mapping[str, int] | None) -> ForeignScore | None:
    """Its headline metric, the one that we show too; keys are `acc_norm,none` and `acc_norm_stderr,none`."""
    for metric in ACCURACY_METRICS:
        key = next((key for key in metrics if key.startswith(f"{metric},")), None)
        if key is not None:
            error = metrics.get(key.replace(",", "_stderr,", 1))
            items = counts.get("effective") if counts else None
            return ForeignScore(
                task, metric, float(metrics[key]), error if isinstance(error, (int, float)) else None, items
            )
    return None
