"""Pack the raw results of a run to be kept: `python -m benchmarks.pack RUN FILE.tar.xz`.

Into the archive go sweep.json and the trials, of a race race.json and its control's, without what belongs to others or
tells of one machine: the texts of evaluation items are left out, folders before a file of the cache too. Distributions
(`trials/*.npz`), which KL divergences are computed from, are too large to be kept.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

OUR_PACKAGES = re.compile(r"(?<=\bPYTHONPATH=)\S+")  # of a command that was timed
BEFORE_CACHE = re.compile(r"/[^\s\"':]*?/(?=(environments|checkpoints|models|wheels|tasks)/)")


def plain(value: Any, data_root: str) -> Any:
    """Texts in any depth with the cache's folder as `CACHE/`, that of the data as `DATA` and that of our packages as
    `CLONE`.
    """
    if isinstance(value, dict):
        return {name: plain(item, data_root) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item, data_root) for item in value]
    if not isinstance(value, str):
        return value
    return "DATA" if value and value == data_root else BEFORE_CACHE.sub("CACHE/", OUR_PACKAGES.sub("CLONE", value))


def without_texts(trial: dict[str, Any]) -> dict[str, Any]:
    return trial | {"scores": [score | {"texts": []} for score in trial["scores"]]}


def pack(run: Path, file: Path) -> None:
    """The same run gives the same bytes."""
    about = json.loads((run / "sweep.json").read_text(encoding="utf-8"))
    files, names = {"sweep.json": about}, list(about["trials"])
    if (race := run / "race.json").exists():
        files["race.json"] = json.loads(race.read_text(encoding="utf-8"))
        names += [files["race.json"]["control"]] if files["race.json"]["control"] else []
    for name in names:
        files[f"trials/{name}"] = without_texts(json.loads((run / "trials" / name).read_text(encoding="utf-8")))
    with tarfile.open(file, "w:xz") as archive:
        for name, content in files.items():
            data = json.dumps(
                plain(content, about.get("data_root") or ""), separators=(",", ":"), ensure_ascii=False
            ).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    pack(given.run, given.file)


if __name__ == "__main__":
    main()
