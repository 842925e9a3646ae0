"""One contract for all methods: what the plan, the worker, the report and the README rely on."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path

import pytest

from engines.runtime.environments import known_environments
from quant.registry import Method, methods
from quant.types import Scheme
from quant.worker import load_method

HEAVY = {"torch", "transformers", "llmcompressor", "compressed_tensors", "datasets", "numpy"}


@pytest.fixture(params=sorted(methods()))
def method(request: pytest.FixtureRequest) -> Method:
    return methods()[request.param]


def _defaults(target: Method, folder: Path) -> dict[str, object]:
    """Defaults, and a checkpoint in GPTQ's format where one must be named."""
    settings = {"quant_method": "gptq", "bits": 4, "group_size": 64, "sym": True}
    (folder / "config.json").write_text(json.dumps({"quantization_config": settings}))
    assert all(parameter.stored for parameter in target.parameters if parameter.required)
    return {p.name: str(folder) if p.required else p.default for p in target.parameters}


def test_its_environment_exists(method: Method) -> None:
    assert method.environment in known_environments()


def test_its_summary_is_one_sentence(method: Method) -> None:
    assert method.summary.endswith(".")
    assert len(method.summary) < 120


def test_each_of_its_parameters_is_explained_in_one_sentence(method: Method) -> None:
    for parameter in method.parameters:
        assert parameter.sentence.endswith("."), f"{parameter.name}: say below `Args:` of the docstring what it is"
        assert len(parameter.sentence.split()) <= 25
        assert not parameter.tools_own.endswith(".")


def test_its_defaults_make_a_scheme_with_a_label_and_a_format(method: Method, tmp_path: Path) -> None:
    scheme = method.scheme(_defaults(method, tmp_path))
    assert isinstance(scheme, Scheme)
    assert scheme.label
    assert method.format(_defaults(method, tmp_path))


def test_calibration_is_taken_if_it_is_ever_needed(method: Method, tmp_path: Path) -> None:
    takes = "calibration" in inspect.signature(method.function).parameters
    assert takes or not method.needs_calibration(_defaults(method, tmp_path))


def test_its_file_imports_nothing_heavy_at_the_top(method: Method) -> None:
    tree = ast.parse(Path(method.file).read_text())
    modules = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in modules} & HEAVY


def test_the_worker_finds_it_by_module_and_by_file(method: Method) -> None:
    module = method.function.__module__
    assert load_method(module, method.file, method.name).name == method.name
    assert load_method(f"elsewhere_{method.name}", method.file, method.name).name == method.name


def test_the_worker_says_what_it_does_not_find(method: Method) -> None:
    with pytest.raises(ImportError, match="has no method named 'nothing'"):
        load_method(method.function.__module__, method.file, "nothing")


def test_a_file_that_is_no_module_is_said(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("not Python")
    with pytest.raises(ImportError, match=r"words\.txt cannot be loaded as the module no_such_module"):
        load_method("no_such_module", str(tmp_path / "words.txt"), "x")
