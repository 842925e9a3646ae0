"""A run folder of made trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evals.schema.trial import Trial
from quant.canonical_json import write_json
from tests.support.made_trials import ABOUT


def write_run(tmp_path: Path, *trials: Trial, **about: Any) -> Path:
    (tmp_path / "trials").mkdir(parents=True)
    names = []
    for number_, result in enumerate(trials):
        names.append(f"{number_}.json")
        write_json(tmp_path / "trials" / names[-1], result)
    write_json(tmp_path / "sweep.json", {**ABOUT, "trials": names, **about})
    return tmp_path
