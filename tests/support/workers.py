"""Workers of a sweep with a store, in this process: each does its work at once, in a cache folder of its own."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

import flows.orchestration.distributed as distributed
from evals.schema.trial import Failure
from flows.execute import rows, visits
from flows.orchestration.deployment_runs import ATTEMPTS, NO_RESULT, WORKER_FAILED, DeploymentRuns, Work
from quant.errors import REMEDIES

KINDS = {"checkpoint": distributed.checkpoint, "cell": distributed.cell, "round": distributed.race_round}


class Killed(BaseException):
    """Raised where a worker is killed, with all that it started."""


class Workers(DeploymentRuns):
    """They take turns. Each run of them is a process of its own by what it says of itself; one that is killed is
    rescheduled, as is one that failed by what only its worker lacks.
    """

    folder: ClassVar[Path]
    names: ClassVar[tuple[str, ...]]
    runs: ClassVar[list[tuple[str, Work]]]

    def require_deployments(self, kinds: Any) -> None:
        """There are none here."""

    def results(self, works: Sequence[Work]) -> Iterator[tuple[Work, Failure | None]]:
        for work in works:
            yield work, None if self.store.has(work.name) else self._made(work)

    def _made(self, work: Work) -> Failure | None:
        failure = Failure("worker-lost", f"not rescheduled after {ATTEMPTS} lost runs", REMEDIES["worker-lost"])
        for _ in range(ATTEMPTS):
            try:
                state = self._run(work)
            except Killed:
                continue
            if state.is_completed():
                return None
            assert state.name in (NO_RESULT, WORKER_FAILED)
            failure = Failure(**json.loads(state.message))
            if state.name == NO_RESULT:
                break
        return failure

    def _run(self, work: Work) -> Any:
        name, number = self.names[len(self.runs) % len(self.names)], len(self.runs)
        self.runs.append((name, work))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BITFRONTIER_CACHE", str(self.folder / f"cache of {name}"))
            for module in (rows, visits):
                patch.setattr(module, "SESSION", f"run {number}")
                patch.setattr(module, "host_id", lambda: name)
            parameters = {**self.parameters, "store": self.store.url, "name": work.name}
            flow = KINDS[work.kind]
            return flow.fn(**flow.validate_parameters(parameters))

    @classmethod
    def kinds(cls) -> list[str]:
        """Of all runs so far."""
        return [work.kind for _, work in cls.runs]


def install_workers(patch: pytest.MonkeyPatch, folder: Path, *names: str) -> type[Workers]:
    """Have sweeps handed to workers of these names, whose cache folders are in `folder`."""

    class Named(Workers):
        """Of one test."""

    Named.folder, Named.names, Named.runs = folder, names or ("one",), []
    patch.setattr(distributed, "DeploymentRuns", Named)
    patch.setattr(distributed, "require_newest", lambda *_: None)
    patch.setattr(distributed, "get_run_logger", logging.getLogger)
    return Named
