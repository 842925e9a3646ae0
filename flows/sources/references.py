"""What the unquantized model says in plain Transformers, computed once for each model; where that fails, why it did."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines.runtime.cache import cache_folder
from engines.runtime.entry_points import REFERENCE_OUTPUTS
from engines.runtime.environments import Environment
from flows import versions
from flows.sources.samples import Say, run_in
from quant.canonical_json import read_note, write_json
from quant.errors import CellFailure, reading

FAILED = ".failed.json"
PASSING = ("full-disk", "out-of-memory", "worker-lost")  # what another time, or more memory, may mend


def reference_outputs(
    name: str, folder: Path, content: str, environment: Environment, say: Say, *, run: bool
) -> Mapping[str, Any]:
    """Of the model in `folder`; empty where they are not there yet and `run` is False.

    Raises CellFailure where they cannot be computed, which is not tried again in this environment until
    `forget_failures`, unless it may pass by itself.
    """
    out = cache_folder() / "models" / f"reference-{versions.REFERENCE_VERSION}-{content[:16]}.json"
    failed = out.with_suffix(FAILED)
    if not out.exists() and failed.exists():
        known = read_note(failed)
        if known.get("environment") == environment.identity:
            with reading(failed, CellFailure, "Delete it"):
                raise CellFailure(**known["failure"])
    if not out.exists() and not run:
        return {}
    if not out.exists():
        say(f"reference log-probabilities of {name}")
        arguments = ["-m", REFERENCE_OUTPUTS, str(folder), str(out)]
        try:
            run_in(environment, arguments, cache_folder() / "logs" / f"reference-{content[:16]}.log")
        except CellFailure as error:
            if error.kind not in PASSING:
                failure = {"cause": error.cause, "kind": error.kind, "log_tail": error.log_tail}
                with contextlib.suppress(OSError):  # a full disk must not hide what happened before
                    write_json(failed, {"environment": environment.identity, "failure": failure})
            raise
    if not (document := read_note(out)):
        raise CellFailure(f"{out} is damaged. Delete it, and sweep again")
    return document


def forget_failures() -> None:
    """References that failed, of whatever model, are computed when they are needed next."""
    for file in (cache_folder() / "models").glob(f"reference-*{FAILED}"):
        file.unlink(missing_ok=True)
