"""`python -m engines.launchers.sglang_server ARGUMENTS…`: SGLang's own server, also where its CUDA packages are not
installed.

SGLang 0.5 imports `sgl_kernel` and `torchvision` wherever it runs. On a CPU without them, modules stand in whose names
can be mentioned and not called: a path that needs them ends with NotImplementedError, never with a wrong number.
SGLang starts its parts by `spawn`, which imports this module again, so they find the same.

The key is read from BITFRONTIER_API_KEY: a command line can be read by every user of the machine.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import runpy
import sys
import types
from collections.abc import Sequence
from typing import Any

MAY_BE_ABSENT = ("sgl_kernel", "torchvision")


class Missing:
    """A name of a package that is not there: it has further names, and calling it fails."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __getattr__(self, name: str) -> Missing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(f"{self.__name__}.{name}")

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"{self.__name__} is not installed: its package needs CUDA")


class MissingModule(types.ModuleType):
    """Stands in for a module of a package that is not there."""

    __path__: list[str] = []  # noqa: RUF012 (what makes a module a package)

    def __getattr__(self, name: str) -> Missing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(f"{self.__name__}.{name}")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules of `packages`, and nothing else."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in self._packages:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return MissingModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None: ...


def stand_in() -> None:
    """Answer for the packages that are absent. Transformers is asked first, so that it remembers the truth."""
    absent = [name for name in MAY_BE_ABSENT if importlib.util.find_spec(name) is None]
    if "torchvision" in absent:
        from transformers.utils import import_utils

        import_utils.is_torchvision_available()
        import_utils.is_torchvision_v2_available()
    sys.meta_path.append(Finder(absent))


def main() -> None:
    from importlib.metadata import version

    print(f"bitfrontier-version {version('sglang')}", flush=True)
    sys.argv += ["--api-key", os.environ["BITFRONTIER_API_KEY"]]
    runpy.run_module("sglang.launch_server", run_name="__main__")


if __name__ in ("__main__", "__mp_main__"):
    stand_in()
if __name__ == "__main__":
    main()
