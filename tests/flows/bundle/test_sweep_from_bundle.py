"""A whole sweep from a bundle: what the plan named is gone, and the run remembers where it came from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import flows.cli.__main__  # noqa: F401 (registers the command)
from flows.bundle.contents import BadBundle
from flows.cli.app import app
from flows.cli.retry import check_unchanged
from flows.orchestration.sweep import sweep
from flows.state.status import RunChanged
from tests.support.fake_sweep import install, write_plan


@pytest.fixture
def place(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(monkeypatch.setattr)
    write_plan(workplace, ["none"])
    monkeypatch.chdir(workplace)
    return workplace


def _bundled(place: Path, *options: str) -> str:
    """A bundle, made on the command line; what it was made of is then gone."""
    arguments = ["bundle", "plan.yaml", "--out", "there/bundle", "--no-program", *options]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    for name in ("tiny", "root"):
        shutil.rmtree(place / name)
    return done.output


def test_the_command_says_what_it_made_and_what_is_next(place: Path) -> None:
    shown = _bundled(place, "--split", "1MB")
    assert "there/bundle: 8 files, 0.00 GB, for linux " in shown
    assert "join them there: sha256sum --check SHA256SUMS && cat bundle.tar.* | tar -x" in shown
    assert "next, there: bitfrontier sweep bundle/files/plan.yaml --bundle bundle" in shown
    assert "not in the bundle, since it is given there: environment llmcompressor, transformers" in shown
    assert {file.name for file in (place / "there").iterdir()} == {"bundle", "bundle.parts"}


def test_a_plan_is_described_from_a_bundle(place: Path) -> None:
    _bundled(place)
    arguments = ["plan", "plan.yaml", "--bundle", "there/bundle", "--json"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert [cell["supported"] for cell in json.loads(done.stdout)["cells"]] == [True]


@pytest.mark.usefixtures("prefect")
def test_a_sweep_from_a_bundle_is_repeated_from_it(place: Path) -> None:
    _bundled(place)
    bundle = place / "there" / "bundle"
    report = sweep(plan="there/bundle/files/plan.yaml", runs="runs", bundle="there/bundle")
    run = Path(report).parent
    about = json.loads((run / "sweep.json").read_text())
    assert about["bundle"] == str(bundle)
    assert about["command"] == f"bitfrontier sweep there/bundle/files/plan.yaml --bundle {bundle}"
    assert check_unchanged(run, lambda _: None).bundle == str(bundle)
    shutil.copytree(run, place / "theirs")  # the attack: a run that brings a bundle, whose packages would be run
    expected = rf"theirs was not started here (.*\n)+not ours: bundle {bundle} \(its packages are installed and run\)"
    with pytest.raises(RunChanged, match=expected):
        check_unchanged(place / "theirs", lambda _: None)
    (bundle / "files" / "tiny" / "config.json").write_text("{}")
    with pytest.raises(BadBundle, match=r"files/tiny/config\.json is damaged"):
        check_unchanged(run, lambda _: None)
