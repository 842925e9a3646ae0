"""What a sweep works on once its environments, models and data are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from engines.runtime.cache import cache_folder
from engines.runtime.environments import Environment
from evals.schema.failures import because
from evals.schema.trial import Failure, Trial
from flows.execute.keys import PartRequest, answers_key
from flows.execute.quantize_checkpoint import Job
from flows.sources.models import Model
from flows.state.stale import StaleResult
from flows.validate.matrix import Cell
from flows.validate.resolved import ResolvedPlan
from quant.errors import REMEDIES


@dataclass(frozen=True)
class Row:
    """One cell of the run with its key and the job that makes its checkpoint (None where it is unsupported).

    `server_key` stands for all that decides what its server answers; it is empty where that is not known. `parts` are
    what is measured of it.
    """

    cell: Cell
    key: str
    server_key: str
    job: Job | None
    file: Path
    parts: tuple[PartRequest, ...] = ()

    @property
    def engine_key(self) -> tuple[str, int]:
        """Cells with the same one share a model and an engine with its options."""
        return self.cell.model.location, id(self.cell.choice)

    @property
    def answers(self) -> Path | None:
        """Where the answers of its server are kept; None for a server that is not known well enough."""
        key = answers_key(self.server_key)
        return cache_folder() / "answers" / f"{key[:32]}.sqlite" if key else None

    @property
    def slug(self) -> str:
        """How the names of the cell's files begin."""
        return self.file.stem.removesuffix(f"-{self.key[:12]}")


@dataclass(frozen=True)
class Prepared:
    """A run whose environments, models and data are there; `rows` are all cells, in order. `stale` are finished
    trials that are kept, by the names of their files, with why they are not what would be measured now.
    """

    sweep: ResolvedPlan
    folder: Path
    environments: Mapping[str, Environment]
    models: Mapping[str, Model]
    rows: tuple[Row, ...]
    stale: Mapping[str, StaleResult] = field(default_factory=dict)


@dataclass
class Baselines:
    """What became of the unquantized cells of each engine: with none that passed, nothing there can be compared. The
    first one in the plan is whose answers an adaptive budget goes by.
    """

    passed: set[tuple[str, int]] = field(default_factory=set)
    failed: dict[tuple[str, int], Failure] = field(default_factory=dict)
    first_failed: dict[tuple[str, int], bool] = field(default_factory=dict)

    def ended(self, row: Row, trial: Trial) -> None:
        if not row.cell.quantization.scheme.unquantized or trial.status == "unsupported":
            return
        self.first_failed.setdefault(row.engine_key, trial.status == "failed")
        if trial.status == "ok":
            self.passed.add(row.engine_key)
        elif trial.status == "failed":
            failure = trial.failure or Failure("other", trial.reason, REMEDIES["other"])
            why = because("the baseline failed in this engine, so nothing can be compared", failure)
            remedy = REMEDIES["failed-baseline"]
            self.failed.setdefault(row.engine_key, replace(why, kind="failed-baseline", remedy=remedy))

    def failure(self, row: Row) -> Failure | None:
        """Why a quantized cell is not measured."""
        if row.cell.quantization.scheme.unquantized:
            return None
        goes_by_first = any("baseline" in part.own for part in row.parts)
        if row.engine_key in self.passed and not (goes_by_first and self.first_failed[row.engine_key]):
            return None
        return self.failed.get(row.engine_key)
