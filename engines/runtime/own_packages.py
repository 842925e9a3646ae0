"""Where our own packages and data files lie, and the folder of them that child processes import from."""

from __future__ import annotations

import logging
import shutil
import tempfile
from functools import cache
from pathlib import Path

from engines.runtime.cache import create_cache
from quant.canonical_json import write_json
from quant.checkpoints.safetensors import hash_file
from quant.hashing import digest

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
PACKAGES = ("quant", "engines", "evals", "reports", "flows", "configs")
COPY_RECORD = "bitfrontier-packages.json"


@cache
def import_folder(root: Path = ROOT) -> Path:
    """The folder that a child process gets as PYTHONPATH: our packages lie in it, and no package of anybody else.

    A checkout is such a folder. An installed bitfrontier lies among the orchestrator's packages, which would hide those
    of an engine's environment; then it is a copy in the cache folder, named after its content.
    """
    if not is_installed(root):
        return root
    sources = [file for name in PACKAGES for file in (root / name).rglob("*") if "__pycache__" not in file.parts]
    files = {file.relative_to(root).as_posix(): hash_file(file) for file in sources if file.is_file()}
    key = digest(files)[:32]
    folder = create_cache() / "packages" / key
    if not (folder / COPY_RECORD).exists():
        _copy(root, sorted(files), folder)
    return folder


def is_installed(root: Path = ROOT) -> bool:
    """Whether our packages lie among those of others, as `site-packages` holds them, rather than in a checkout."""
    return any(root.glob("*.dist-info"))


def _copy(root: Path, names: list[str], folder: Path) -> None:
    """Write the copy beside its place and rename it: two processes may do so at the same time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.partial-") as partial:
        logger.info("copying our packages to %s", folder)
        for name in names:
            target = Path(partial, "copy", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target)
        write_json(Path(partial, "copy", COPY_RECORD), {"key": folder.name})
        try:
            Path(partial, "copy").rename(folder)
        except OSError:
            if not (folder / COPY_RECORD).exists():  # not the same copy, made by another process meanwhile
                raise
