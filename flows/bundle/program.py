"""bitfrontier itself for a machine without a network: its own wheel, and those of the packages that it needs."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

from engines.runtime.environments import run_uv
from engines.runtime.own_packages import PACKAGES, ROOT, is_installed
from flows.bundle.targets import Target
from flows.bundle.wheels import Distribution, resolve
from quant.canonical_json import open_regular, whole_file, write_whole

NAME = "bitfrontier"
PROJECT_FILES = ("pyproject.toml", "README.md", "LICENSE")
OF_THE_INSTALLER = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes for the same content


def needed_packages(target: Target) -> list[Distribution]:
    """The files of everything that bitfrontier needs, in the versions that it has here. Raises EnvironmentFailed."""
    wanted = [line for line in metadata.requires(NAME) or () if "extra ==" not in line]
    here = {distribution.name: distribution.version for distribution in metadata.distributions()}
    with tempfile.TemporaryDirectory() as place:
        requirements, constraints = Path(place, "requirements.txt"), Path(place, "constraints.txt")
        write_whole(requirements, "\n".join(wanted) + "\n")
        write_whole(
            constraints, "".join(f"{name}=={version}\n" for name, version in sorted(here.items()) if name != NAME)
        )
        return resolve(requirements, target, "--constraints", str(constraints))


def own_wheel(folder: Path) -> Path:
    """The wheel of this program in `folder`: built from its checkout, or packed again from where it is installed."""
    if is_installed(ROOT):
        return _packed_again(folder)
    with tempfile.TemporaryDirectory() as place:
        source, made = Path(place, "source"), Path(place, "made")
        for package in PACKAGES:
            shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
        for file in PROJECT_FILES:
            shutil.copyfile(ROOT / file, source / file)
        run_uv("build", "--quiet", "--wheel", "--out-dir", str(made), str(source))
        (wheel,) = made.glob("*.whl")
        with open_regular(wheel) as built, whole_file(folder / wheel.name) as out:
            shutil.copyfileobj(built, out)
    return folder / wheel.name


def _packed_again(folder: Path) -> Path:
    """The files that the installer's record lists, without what the installer wrote itself."""
    installed = metadata.distribution(NAME)
    names = [file for file in installed.files or () if file.parts[0] != ".." and "__pycache__" not in file.parts]
    contents = {str(file): Path(str(file.locate())).read_bytes() for file in names if file.name not in OF_THE_INSTALLER}
    record = next(str(file) for file in names if file.name == "RECORD")
    hashes = {name: base64.urlsafe_b64encode(hashlib.sha256(data).digest()) for name, data in contents.items()}
    lines = [f"{name},sha256={hashes[name].decode().rstrip('=')},{len(contents[name])}\n" for name in sorted(contents)]
    contents[record] = "".join([*lines, f"{record},,\n"]).encode()
    wheel = folder / f"{NAME}-{installed.version}-py3-none-any.whl"
    with whole_file(wheel) as out, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(contents.items()):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED)
    return wheel
