"""A run from somebody else, with links in the place of what `report` writes: nothing outside of it is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.schema.run_file import check_no_links
from quant.errors import BitfrontierError
from reports.output.html_report import write_report
from tests.support.made_runs import write_run
from tests.support.made_trials import trial

MINE = "export PATH=/usr/bin\n"


def _run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", trial("none", 10, 2.0, 80), trial("rtn", 20, 1.0, 80, 2.05))


@pytest.mark.parametrize(
    "name", ["report.html", "report.partial", "results.csv", "results.parquet", "figures/frontier.svg", "logs/x.log"]
)
def test_a_file_that_is_a_link(name: str, tmp_path: Path) -> None:
    run, target = _run(tmp_path), tmp_path / "bashrc"
    target.write_text(MINE)
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(target)
    with pytest.raises(
        BitfrontierError, match=rf"run/{name} is a symbolic link: what a run writes .*\. Delete it, or "
    ):
        write_report(run)
    assert target.read_text() == MINE
    assert not (run / "report.html").is_file() or name == "report.html"


@pytest.mark.parametrize("name", ["figures", "logs", "trials"])
def test_a_folder_that_is_a_link(name: str, tmp_path: Path) -> None:
    run, target = _run(tmp_path), tmp_path / "elsewhere"
    target.mkdir()
    if name == "trials":
        (run / name).rename(target / "moved")
        target /= "moved"
    before = sorted(target.iterdir())
    (run / name).symlink_to(target)
    with pytest.raises(BitfrontierError, match=rf"run/{name} is a symbolic link: what a run writes"):
        write_report(run)
    assert sorted(target.iterdir()) == before


def test_a_pipe_where_a_log_or_a_trial_would_be(tmp_path: Path) -> None:
    """Whoever opens it waits until somebody writes."""
    run = _run(tmp_path)
    os.mkfifo(run / "trials" / "x.json")
    with pytest.raises(BitfrontierError, match=r"run/trials/x\.json is a pipe, a socket or a device: .*\. Delete it$"):
        write_report(run)


def test_a_file_that_gets_its_name_meanwhile_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep that runs writes beside a result's place, and renames."""
    run, glob = _run(tmp_path), Path.glob

    def listed(folder: Path, pattern: str) -> Iterator[Path]:
        yield from glob(folder, pattern)
        yield folder / "trials" / "x.json.0123.partial"

    with monkeypatch.context() as sweeping:
        sweeping.setattr(Path, "glob", listed)
        check_no_links(run)
