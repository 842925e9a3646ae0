"""Third parties' plug-ins: installed packages with entry points, and files beside those of a package of ours."""

from __future__ import annotations

from pathlib import Path


def install_plugin(site: Path, group: str, name: str, source: str) -> Path:
    """What an installer leaves of a package with one module and one entry point, in a folder of the search path."""
    record = site / f"{name}-1.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}\n")
    file = site / f"{name}.py"
    file.write_text(source)
    return file
