"""Every command of README, tutorials and how-tos: those of ours are parsed and their plans checked, the quick ones really
run; what is not run is listed with the reason. A new command that is neither fails.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

import engines.telemetry.device
import flows.sources.model_facts
import flows.validate.plan
from engines.types import Device
from flows.cli.app import app
from flows.plan.changes import Changes
from flows.sources.model_facts import ModelFacts, look_up_model
from flows.validate.plan import load_and_check
from scripts.docs_site.pages import command_line
from scripts.plan_schema import plan_schema

ROOT = Path(__file__).resolve().parents[2]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md")), *(ROOT / "docs").glob("how-to/*.md")]
FENCED = re.compile(r"^( *)```([\w-]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"[A-Z_]+=")
H200 = Device("cuda", "NVIDIA H200", frozenset({"sm90"}), 139 * 1024**3)
QWEN = ModelFacts(
    "Qwen2.5-7B-Instruct", "hub", "Qwen/Qwen2.5-7B-Instruct", 7_615_616_512, (3584, 18944), 32768, 152064, 0, ""
)

RUN = ("init", "plan", "methods", "engines", "status", "compare", "gc")  # within seconds
# of ours, parsed and their plans checked, but not run
PARSED = {
    "sweep": "minutes; .ci/run sweeps a reduced quick start, tests/flows/orchestration made-up ones",
    "report": "opens a browser; tests/flows/cli/test_report_command.py",
    "retry": "measures; tests/flows/cli/test_retry.py",
    "serve": "a server; tests/flows/cli/test_serve.py",
    "quantize": "minutes; tests/flows/cli/test_quantize_command.py",
    "bundle": "hundreds of MB; tests/flows/bundle, and tests/real/test_bundle_sweep.py sweeps from one",
    "doctor": "its answer is this machine's; tests/flows/cli/test_doctor_installation.py",
    "compare bench.json runs/new/NAME": "another tool's file; tests/reports/compare reads such",
}
OTHERS = {
    "pip install uv": "installs",
    "bf/bin/pip install --no-index": "installs; what its file holds is in tests/flows/bundle",
    "python3.11 -m venv": "another Python's own module",
    "sha256sum --check": "tests/flows/bundle/test_parts.py joins parts so",
    "cat gpu.tar": "tests/flows/bundle/test_parts.py joins parts so",
    "uv run pytest": "the tests themselves",
    "vllm serve": "another program, with a model of the reader's",
    "export PREFECT_": "settings; tests/support/prefect_server.py starts a server with them",
    "export BITFRONTIER_REPORTS_URL": "a setting; tests/flows/orchestration/test_artifacts.py",
    "uv run prefect server start": "a service; tests/support/prefect_server.py starts one",
    "uv run prefect work-pool create": "needs that server; tests/flows/orchestration/test_deployment_runs.py",
    "uv run prefect deploy": "needs that server; tests/flows/orchestration/test_deployment_runs.py",
    "uv run prefect worker start": "a service; benchmarks/two_workers.py starts two",
    "uv run prefect deployment run": "needs worker and server; benchmarks/two_workers.py",
    "uv run python -m http.server": "a service of Python's own",
}


@dataclass(frozen=True)
class Command:
    """One command of a page, in the order in which a reader runs them. `words` are those after `bitfrontier`."""

    page: Path
    text: str
    words: tuple[str, ...] = ()


def _commands(page: Path) -> Iterator[Command]:
    for _, language, block in FENCED.findall(page.read_text(encoding="utf-8")):
        if language not in ("", "sh", "bash", "shell", "console"):
            continue
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                own = [word for word in words[:end] if word != "&" and not SETTING.match(word)]
                text, words = " ".join(words[:end]), words[end + 1 :]
                start = own[2:] if own[:2] == ["uv", "run"] else own
                is_ours = start[:1] == ["bitfrontier"]
                yield Command(page, " ".join(own) if is_ours else text, tuple(start[1:]) if is_ours else ())


COMMANDS = [command for page in GUIDES for command in _commands(page)]
OURS = [command for command in COMMANDS if command.words]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a reader's, with the runs and the plans that pages speak of, and the hub's model by its facts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITFRONTIER_CACHE", str(tmp_path / "cache"))
    for run in ("quickstart", "good/NAME", "new/NAME"):
        with tarfile.open(ROOT / "evidence" / "quickstart-2026-11-28.tar.xz") as archive:
            archive.extractall(tmp_path / "runs" / run, filter="data")
    (tmp_path / "gpu" / "files").mkdir(parents=True)
    for plan in ("plan.yaml", "gpu/files/plan.yaml"):
        shutil.copyfile(ROOT / "configs" / "quickstart.yaml", tmp_path / plan)
    monkeypatch.setattr(flows.sources.model_facts, "look_up_model", _known_hub_model)
    monkeypatch.setattr(flows.validate.plan, "look_up_model", _known_hub_model)
    return tmp_path


def _known_hub_model(text: str, base: Path) -> ModelFacts:
    return QWEN if text.startswith("hub:") else look_up_model(text, base)


def _made(page: Path, place: Path) -> None:
    """What a page tells its reader to have before its commands."""
    text = page.read_text(encoding="utf-8")
    if "configs/" in " ".join(command.text for command in _commands(page)):
        shutil.copytree(ROOT / "configs", place / "configs")
    for _, language, block in FENCED.findall(text):
        if language == "yaml" and re.search(r"^ *name: mine$", block, re.MULTILINE):
            (place / "mine.yaml").write_text(block, encoding="utf-8")


def _parsed(words: tuple[str, ...]) -> dict[str, Any]:
    """The values of a command's arguments and options. Raises what click raises."""
    name, *arguments = words
    command = command_line().commands[name]
    context = command.make_context(name, list(arguments))
    return dict(context.params)


def test_commands_are_found() -> None:
    assert len(OURS) > 20
    assert {command.page for command in OURS} >= {ROOT / "README.md", ROOT / "docs" / "tutorials" / "quick-start.md"}


def test_every_command_is_ours_or_listed() -> None:
    for command in COMMANDS:
        text = " ".join(command.words)
        if command.words:
            listed = command.words[0] in RUN or any(text.startswith(begin) for begin in PARSED)
        else:
            listed = any(command.text.startswith(begin) for begin in OTHERS)
        assert listed, f"{command.page.name}: run `{command.text}` here, or list it with the reason why not"


def test_nothing_is_listed_that_no_page_has() -> None:
    ours, others = [" ".join(command.words) for command in OURS], [c.text for c in COMMANDS if not c.words]
    assert [begin for begin in PARSED if not any(text.startswith(begin) for text in ours)] == []
    assert [begin for begin in OTHERS if not any(text.startswith(begin) for text in others)] == []


@pytest.mark.parametrize("command", OURS, ids=lambda command: f"{command.page.stem}: {command.text}")
def test_every_option_exists(command: Command) -> None:
    assert _parsed(command.words) is not None


def test_an_option_that_is_none_is_seen() -> None:
    with pytest.raises(Exception, match="No such option"):
        _parsed(("sweep", "quickstart", "--no-such-option"))


@pytest.mark.parametrize("page", [page for page in GUIDES if list(_commands(page))], ids=lambda page: page.stem)
def test_the_commands_of_a_page_work_one_after_another(
    page: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _made(page, place)
    if "gpu" in page.stem:
        monkeypatch.setattr(engines.telemetry.device, "find_device", lambda *_: H200)
        monkeypatch.setattr(flows.validate.plan, "find_device", lambda _: H200)
    for command in _commands(page):
        text = " ".join(command.words)
        if not command.words:
            continue
        if command.words[0] in RUN and not any(text.startswith(begin) for begin in PARSED):
            done = CliRunner().invoke(app, list(command.words), input="n\n")
            assert done.exit_code == 0, f"{command.text}: {done.output} {done.exception}"
        elif command.words[0] in ("sweep", "quantize"):
            given = _parsed(command.words)
            changes = Changes(*(tuple(given.get(name) or ()) for name in ("sets", "only", "exclude")))
            checked = load_and_check(Path(given["file"]), changes)
            assert checked.cells
            if "label" in given:
                assert given["label"] in {cell.quantization.label for cell in checked.cells}


def test_files_that_other_commands_name_are_there() -> None:
    for command in COMMANDS:
        for word in command.text.split():
            if word.startswith(("configs/", "tests/", "scripts/")) or word.endswith("prefect-workers.yaml"):
                assert (ROOT / word.removeprefix("plan=")).exists(), command.text


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_examples_of_plans_have_the_shape_of_plans(page: Path) -> None:
    """A page may show some keys alone."""
    schema = plan_schema() | {"required": []}
    for _, language, block in FENCED.findall(page.read_text(encoding="utf-8")):
        if language == "yaml":
            wrong = [error.message for error in Draft202012Validator(schema).iter_errors(yaml.safe_load(block))]
            assert wrong == [], block
