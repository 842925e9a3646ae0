from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

import engines.runtime.installing.pip_config
from engines.types import Device
from flows.orchestration.api_server import unwatched
from flows.orchestration.sweep_head import forecast_line, head
from flows.plan.source import load_plan
from flows.validate.plan import check
from flows.validate.resolved import ResolvedPlan
from quant.canonical_json import write_json
from tests.support.fake_sweep import install, write_plan


class _Sweep:
    """A sweep as far as its head reads it."""

    plan = load_plan(Path("quickstart")).plan
    device = Device("cpu", "a processor, 2 cores", frozenset(), 1)


def _head() -> list[str]:
    return head(cast(ResolvedPlan, cast(Any, _Sweep())))


def test_the_server_is_named() -> None:
    with temporary_settings({PREFECT_API_URL: "http://user:planted@127.0.0.1:9/api"}):
        assert _head()[0] == "Prefect server: http://(hidden)@127.0.0.1:9/api"
        token = unwatched.set(True)
        assert _head()[0] == "Prefect server: our own, for this sweep"
        unwatched.reset(token)


def test_package_sources_are_named_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = https://me:planted@index.example/simple\n")
    monkeypatch.setattr(engines.runtime.installing.pip_config, "pip_files", lambda: [file])
    monkeypatch.setattr("flows.orchestration.sweep_head.pip_files", lambda: [file])
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_FIND_LINKS", "/wheels")
    line = _head()[1]
    assert "UV_FIND_LINKS=/wheels" in line
    assert "index-url https://(hidden)@index.example/simple" in line
    assert line.endswith(f"(pip configuration: {file})")


def test_devices_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _head()[2] == "device: a processor, 2 cores, 2 threads for engines"
    monkeypatch.setattr("flows.orchestration.sweep_head.driver_version", lambda: "1.2")
    monkeypatch.setattr(_Sweep, "device", Device("cuda", "a GPU", frozenset(), 1, ("GPU-1", "GPU-2")))
    assert _head()[2] == "device: a GPU (GPU-1, GPU-2), driver 1.2"


def test_how_long_it_may_take_is_forecast(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    sweep = check(load_plan(write_plan(workplace, ["none", "other"])))
    runs = workplace / "runs"
    shape = r"forecast: about \d+ \w+ \(\d+ \w+ to \d+ \w+\), without environments and downloads"
    assert re.fullmatch(shape, forecast_line(sweep, runs))
    (runs / "fake" / "trials").mkdir(parents=True)
    write_json(runs / "fake" / "sweep.json", {"trials": ["0.json", "1.json"]})
    (runs / "fake" / "trials" / "0.json").touch()
    assert re.fullmatch(shape + "; 1 of 2 cells ended before", forecast_line(sweep, runs))
