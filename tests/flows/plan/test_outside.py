"""What a plan names that is not ours, as it is said before anything of it is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from engines.runtime.child_environment import passed_variables
from flows.plan.outside import Outside, outside
from flows.plan.source import load_plan

ENGINE = {"engine": "transformers"}


def _outside(folder: Path, **changes: Any) -> list[Outside]:
    file = folder / "plan.yaml"
    plan = yaml.safe_load(Path("configs/quickstart.yaml").read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**plan, "engines": [ENGINE], **changes}))
    return outside(load_plan(file).plan)


def test_a_plan_of_what_we_build_names_nothing(tmp_path: Path) -> None:
    assert _outside(tmp_path) == []


def test_an_interpreter_gets_the_listed_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    (entity,) = _outside(tmp_path, environments={"vllm": {"python": "/opt/python", "site": ["/opt/site"]}})
    assert entity.variables == tuple(passed_variables())
    assert "PATH" in entity.variables
    assert "AWS_SECRET_ACCESS_KEY" not in entity.variables
    assert entity.line.startswith(
        "not ours: interpreter /opt/python (in place of the environment vllm); sees /opt/site; gets "
    )


def test_an_image_has_its_mounts(tmp_path: Path) -> None:
    (entity,) = _outside(tmp_path, environments={"vllm": {"image": "theirs/vllm:1", "mounts": ["/:/host"]}})
    assert entity.line == (
        "not ours: image theirs/vllm:1 (in place of the environment vllm); sees our packages (read-only), the cache "
        "folder, /:/host; gets no variable of this shell"
    )


@pytest.mark.parametrize(("key", "gets"), [("THE_KEY", "THE_KEY"), (None, "no variable of this shell")])
def test_an_attached_server_gets_its_key_alone(tmp_path: Path, key: str | None, gets: str) -> None:
    attach = {"url": "https://example.org/v1", **({"key_variable": key} if key else {})}
    (entity,) = _outside(tmp_path, engines=[{"engine": "openai", "attach": attach}])
    assert entity.line == f"not ours: server https://example.org/v1 (the engine openai); gets {gets}"


def test_a_program_that_is_found_and_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ollama"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    named, added = _outside(tmp_path, engines=[{"engine": "ollama", "arguments": ["--x"], "env": {"A": "b"}}])
    assert (named.kind, named.name, named.variables) == ("program", str(program), tuple(passed_variables()))
    assert added.line == ("not ours: arguments --x A=b (added to the engine ollama); gets no variable of this shell")
    (stood_in,) = _outside(tmp_path, engines=[{"engine": "ollama"}], environments={"ollama": {"image": "ollama"}})
    assert stood_in.kind == "image"


def test_own_tasks_are_named_for_their_functions(tmp_path: Path) -> None:
    (entity,) = _outside(tmp_path, tasks_path="mine")
    assert entity.place == ("tasks_path",)
    assert entity.line.startswith("not ours: tasks mine (functions that its task definitions name are run); gets ")
    assert set(entity.variables) >= set(passed_variables())


@pytest.mark.parametrize("given", ["/opt/llama-server", ["", "/opt/llama-server"]], ids=["one", "a list"])
def test_an_executable_among_the_options(tmp_path: Path, given: Any) -> None:
    (entity,) = _outside(tmp_path, engines=[{"engine": "llama_cpp", "options": {"executable": given}}])
    assert entity.place == ("engines", 0, "options", "executable")
    assert entity.variables == tuple(passed_variables())
    assert entity.line.startswith("not ours: executable /opt/llama-server (executable of the engine llama_cpp); gets ")
