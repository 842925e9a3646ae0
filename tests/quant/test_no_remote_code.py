"""One contract for all methods: none is given a model's code, and Transformers runs none whatever a tool asks for.

Transformers is not installed here: a small stand-in has the same way to a model's code. `tests/real` does it with the
real one and llama.cpp's converter.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import quant.worker
from quant.no_remote_code import RemoteCodeRefused, forbid_remote_code
from quant.registry import methods
from quant.tools.tokenizer import copy_tokenizer
from tests.support.planted_code import foreign, plant_code

# as in Transformers 5.10: the loaders import these by name
DYNAMIC = """
def get_class_in_module(name, file):
    space = {}
    exec(open(file).read(), space)
    return space[name]

def get_cached_module_file(folder, file, **kwargs):
    return f"{folder}/{file}"

def get_class_from_dynamic_module(reference, folder, **kwargs):
    module, name = reference.split(".")
    return get_class_in_module(name, get_cached_module_file(folder, module + ".py"))

def resolve_trust_remote_code(trust_remote_code, model_name, has_local_code, has_remote_code, error_message=None):
    return trust_remote_code
"""
AUTO = """
import json
from .dynamic_module_utils import get_class_from_dynamic_module, resolve_trust_remote_code

def from_pretrained(folder, trust_remote_code=None, known=False):
    told = json.load(open(f"{folder}/tokenizer_config.json"))
    if resolve_trust_remote_code(trust_remote_code, folder, known, "auto_map" in told):
        return get_class_from_dynamic_module(told["auto_map"]["AutoTokenizer"][0], folder)
    return "its own"
"""


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = tmp_path / "packages" / "transformers"
    package.mkdir(parents=True)
    for name, text in {"__init__": "", "dynamic_module_utils": DYNAMIC, "auto": AUTO}.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in [module for module in sys.modules if module.split(".")[0] == "transformers"]:
        monkeypatch.delitem(sys.modules, name)
    yield
    for name in [module for module in sys.modules if module.split(".")[0] == "transformers"]:
        del sys.modules[name]


def _load(folder: Path, **given: Any) -> Any:
    return importlib.import_module("transformers.auto").from_pretrained(folder, **given)


@pytest.mark.usefixtures("loader")
def test_the_stand_in_runs_code_where_nothing_forbids_it(tiny_model: Path) -> None:
    mark = plant_code(tiny_model)
    _load(tiny_model, trust_remote_code=True)
    assert mark.exists()


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("early", [True, False])
def test_nothing_runs_whenever_it_was_forbidden(tiny_model: Path, early: bool) -> None:
    mark = plant_code(tiny_model)
    if not early:
        importlib.import_module("transformers.auto")
    forbid_remote_code()
    forbid_remote_code()
    with pytest.raises(RemoteCodeRefused, match="wants code of its own to be run"):
        _load(tiny_model, trust_remote_code=True)
    assert not mark.exists()
    if early:
        assert _load(tiny_model, trust_remote_code=True, known=True) == "its own"


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("name", sorted(methods()))
def test_no_method_is_given_code(name: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function is replaced by one that does the worst that a tool does; all around it is the worker's own."""
    mark, out, given = plant_code(tiny_model), tmp_path / "job" / "out", []

    def tool(model: Path, out: Path, *rest: object, **parameters: Any) -> None:
        given.extend(
            [model, *(Path(parameters[parameter.name]) for parameter in method.parameters if parameter.stored)]
        )
        assert model != tiny_model
        copy_tokenizer(model, out)
        for folder in (model, tiny_model):  # the real one too, as if it had been found
            with pytest.raises(RemoteCodeRefused):
                _load(folder, trust_remote_code=True)

    method = methods()[name]
    monkeypatch.setattr(quant.worker, "load_method", lambda *_: replace(method, function=tool))
    out.mkdir(parents=True)
    parameters = {parameter.name: str(tiny_model) for parameter in method.parameters if parameter.stored}
    job = {
        "module": "",
        "file": "",
        "method": name,
        "threads": 1,
        "seed": 0,
        "model": str(tiny_model),
        "out": str(out),
        "takes_calibration": False,
        "calibration": None,
        "parameters": parameters,
        "versions_of": [],
    }
    assert quant.worker.run(job)["status"] == "ok"
    assert len(given) == 1 + len(parameters)
    assert not [file for folder in (*given, out) for file in foreign(folder)]
    assert not mark.exists()
