"""A plan whose every name is resolved."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from engines.types import Device
from evals.data.corpora import WIKITEXT
from evals.load.traces import TraceRequest
from evals.schema.load import LoadPoint
from evals.tasks.loaded_tasks import TaskSpec
from evals.tasks.task_index import TaskIndex, task_index
from flows.plan.changes import UNCHANGED, Changes
from flows.plan.load import TracePlan
from flows.plan.schema import KLDivergencePlan, Plan
from flows.sources.model_facts import ModelFacts
from flows.validate.loads import longest_text
from flows.validate.matrix import Cell
from quant.canonical_json import named_path


@dataclass(frozen=True)
class ResolvedPlan:
    """A plan that is valid to the last name. `base` is the folder that relative paths start from, `data_root` what was
    given in place of the plan's `data`. `keep_stale` keeps finished results that are not what would be measured now.
    `warnings` are what makes its results hard to compare. `text` is what the plan says, with the `changes` of the
    command line. `bundle` is the folder that all it needs comes from, where one was given.
    """

    plan: Plan
    file: Path
    base: Path
    device: Device
    text: str
    cells: tuple[Cell, ...]
    tasks: tuple[TaskSpec, ...]
    data_root: str | None = None
    traces: Mapping[str, Sequence[TraceRequest]] = field(default_factory=dict)
    keep_stale: bool = False
    warnings: tuple[str, ...] = ()
    changes: Changes = UNCHANGED
    bundle: str | None = None

    @cached_property
    def loads(self) -> tuple[LoadPoint, ...]:
        """The load points, with what the files of traces say of theirs."""
        entries = self.plan.load
        return tuple(
            entry.point(self.traces[entry.trace]) if isinstance(entry, TracePlan) else entry.point for entry in entries
        )

    @property
    def own_tasks(self) -> Path | None:
        """The folder of the user's own task definitions."""
        return named_path(self.base, self.plan.tasks_path) if self.plan.tasks_path else None

    @cached_property
    def known_tasks(self) -> TaskIndex:
        """All names of tasks: lm-eval's, and the user's own."""
        return task_index(self.own_tasks)

    @property
    def models(self) -> list[ModelFacts]:
        """In the plan's order."""
        return list({cell.model.location: cell.model for cell in self.cells}.values())

    @property
    def max_model_len(self) -> int:
        """Positions that every engine is started with: the longest text, the token that is predicted, one generated."""
        return longest_text(self.plan, self.traces, max(model.gate_tokens for model in self.models)) + 2

    def prompts_file(self, divergence_plan: KLDivergencePlan) -> Path | None:
        """The JSONL file of the user's own prompts; None for WikiText-2."""
        return None if divergence_plan.prompts == WIKITEXT else named_path(self.base, divergence_plan.prompts)

    @property
    def load_prompts(self) -> dict[str, Path]:
        """The JSONL files of loads' own prompts by their names in the plan."""
        return {load.prompts: named_path(self.base, load.prompts) for load in self.loads if load.prompts}

    @property
    def key_variables(self) -> dict[str, str]:
        """The variables with the keys of servers that are attached to, as they are set here."""
        names = {cell.choice.attached.key_variable for cell in self.cells if cell.choice.attached}
        return {name: os.environ[name] for name in names if name and name in os.environ}

    def stand_in(self, environment: str) -> dict[str, Any] | None:
        given = self.plan.environments.get(environment)
        return given.model_dump(exclude_none=True) if given else None
