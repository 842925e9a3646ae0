"""What libraries may not do in this process. Transformers runs no code of a model's folder, whatever its caller asks
for: llama.cpp's converter, for one, passes `trust_remote_code=True` in more than ten places. And no tool reports to its
makers. Standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, NoReturn

from quant.errors import BitfrontierError

MODULE = "transformers.dynamic_module_utils"  # where all of Transformers' loaders get such code from


class RemoteCodeRefused(BitfrontierError):
    """A model wants code of its own to be run."""


def forbid_remote_code() -> None:
    """From now on `trust_remote_code` is False everywhere. Best called before Transformers is imported: a loader that
    was imported earlier still asks for what it is told to, and is stopped one step later, at the code itself.
    """
    if MODULE in sys.modules:
        _forbid(sys.modules[MODULE])
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Changes the module as it is imported: to import it here would take seconds in workers that do without it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == MODULE else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def executed(module: ModuleType) -> None:
            execute(module)
            _forbid(module)

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


def _forbid(module: Any) -> None:
    module.resolve_trust_remote_code = _never
    for name in ("get_class_in_module", "get_cached_module_file", "get_class_from_dynamic_module"):
        setattr(module, name, _refuse)


def _never(
    trust_remote_code: object, model_name: object, has_local_code: object, has_remote_code: object, *_: Any, **__: Any
) -> bool:
    """Transformers' own class where it has one, else a refusal that offers no way round."""
    if has_remote_code and not has_local_code:
        _refuse(model_name)
    return False


def _refuse(*given: object, **_: object) -> NoReturn:
    raise RemoteCodeRefused(
        f"{given[0] if given else 'the model'} wants code of its own to be run (`auto_map`), and bitfrontier runs "
        "none; choose a model that Transformers knows by itself"
    )


def forbid_telemetry() -> None:
    """From now on; to be called before OpenVINO is imported. OpenVINO and NNCF send each start and each conversion to a
    service on the web by this package, unless a file in the user's home forbids it. Without it they take stubs.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
