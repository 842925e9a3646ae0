"""A whole sweep over a fake engine and small methods, for tests of the plumbing. No figure of it is ever a result.

`main` in a process of its own runs it as the command line does: PLAN RUNS.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import yaml

import flows.cli.commands
import flows.execute.rows
import flows.execute.worker_process
import flows.sources.models
import flows.validate.engines
import flows.validate.methods
import flows.validate.plan
import reports.output.html_report
import tests.support.fake_methods
from engines.registry import Engine
from engines.telemetry import disturbance
from engines.telemetry.memory_bandwidth import Bandwidth
from engines.types import Device
from evals.schema.trial import Trial
from flows.execute import rows
from flows.execute.manifest import describe
from flows.execute.prepare import environments_of, prepare_sweep
from flows.execute.prepared import Prepared
from flows.execute.worker_process import Here
from flows.plan.source import load_plan
from flows.state.cache_gc import register
from flows.state.progress_display import LogDisplay
from flows.validate.plan import check
from quant.registry import Method, methods_in
from quant.types import Scheme
from tests.support.drawing import left_blank
from tests.support.fake_engine import fake_engine
from tests.support.made_up_model import logprob


def logprobs(ids: list[int]) -> list[float]:
    """What `emulator.py` says."""
    return [logprob(a, b) for a, b in zip(ids, ids[1:], strict=False)]


def reference(golden_offset: float = 0.0) -> dict[str, Any]:
    ids = [3, 4, 5, 6, 7]
    golden = [value + golden_offset for value in logprobs(ids)]
    return {
        "golden_ids": ids,
        "golden_logprobs": golden,
        "long_items": [{"context": ids[:2], "continuation": ids[2:], "logprobs": golden[1:]}],
        "sanity_ids": ids,
        "sanity_logprobs": logprobs(ids),
        "greedy_ids": [1, 2],
        "rounding_nats": {},
    }


def _unsupported(scheme: Scheme, checkpoint_format: str, device: Device, options: Any) -> str | None:
    return "the fake engine reads no other format" if checkpoint_format == "other" else None


TWO_USERS = {"concurrency": 2, "requests": 2, "prompt_tokens": 4, "output_tokens": 4}


def fake_methods() -> dict[str, Method]:
    return {method.name: method for method in methods_in(tests.support.fake_methods)}


def fake_engines(behaviour: str = "good") -> dict[str, Engine]:
    engine = fake_engine(behaviour)
    return {
        "fake": Engine(
            engine.name,
            engine.environments,
            engine.dialect,
            engine.launch,
            _unsupported,
            engine.read_facts,
            engine.options,
        )
    }


def install(patch: Any = setattr, *, behaviour: str = "good", golden_offset: float = 0.0) -> None:
    """Replace methods, engines and the gates' reference. `patch` is setattr or monkeypatch.setattr."""
    patch(flows.validate.methods, "methods", fake_methods)
    patch(flows.validate.engines, "engines_by_name", lambda: fake_engines(behaviour))
    patch(flows.sources.models, "reference_outputs", lambda *_, **__: reference(golden_offset))
    patch(flows.execute.worker_process, "aside", lambda prepared: contextlib.nullcontext(Here(prepared)))
    patch(flows.execute.rows, "memory_bandwidth", lambda *_: Bandwidth(1e10, 1e10, 1e10, 1, "planted"))


def write_plan(folder: Path, method_names: list[str]) -> Path:
    """A plan in `folder`, which holds the model `tiny` and the data `root`."""
    here = {"python": sys.executable}
    plan = {
        "name": "fake",
        "device": "cpu",
        "threads": 2,
        "repeats": 2,
        "max_length": 64,
        "models": ["tiny"],
        "data": "root",
        "methods": [{"method": name} for name in method_names],
        "engines": [{"engine": "fake"}],
        "load": [{"concurrency": 1, "requests": 2, "prompt_tokens": 4, "output_tokens": 4}],
        "tasks": [{"task": "arc_easy", "limit": 4}],
        "environments": {"llmcompressor": here, "transformers": here},
    }
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump(plan, sort_keys=False))
    return file


def prepared_run(folder: Path, **changes: Any) -> Prepared:
    """The fake run of one cell, with other values of the plan's keys."""
    file = write_plan(folder, ["none"])
    plan = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**plan, **changes}))
    checked = check(load_plan(file))
    prepared = prepare_sweep(checked, environments_of(checked), folder / "runs", LogDisplay(lambda _: None))
    rows.assemble_finished(prepared)
    describe(prepared)
    register(prepared.folder, file.read_text())
    return prepared


def main() -> None:
    """Run it in a process of its own. What else runs on the machine of the tests is no reason to visit a cell again."""
    install()
    disturbance.FOREIGN_SHARE = disturbance.STEAL_SHARE = 2.0
    disturbance.SLOW_SENTINEL, disturbance.SENTINEL_SECONDS = 0.0, 0.01
    reports.output.html_report.drawn_beside = left_blank
    sys.argv = ["bitfrontier", "sweep", sys.argv[1], "--runs", sys.argv[2]]
    flows.cli.commands.main()


def measured(prepared: Prepared) -> Trial:
    """The trial of a run of one cell."""
    (row,) = prepared.rows
    return rows.finished(row) or Here(prepared).measure(row, LogDisplay(lambda _: None))


def parts(prepared: Prepared) -> dict[str, str]:
    """The keys of the parts of a run of one cell, by name."""
    return {part.name: part.key for part in prepared.rows[0].parts}


def written(folder: Path) -> dict[str, int]:
    """When each part of the run in `folder` was written, by its file."""
    return {file.name: file.stat().st_mtime_ns for file in (folder / "runs" / "fake" / "parts").glob("*.json")}
