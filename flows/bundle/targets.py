"""The machines that a bundle may be for: their processor, glibc and Python, and which wheels fit them."""

from __future__ import annotations

import platform
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from engines.runtime.installing.pythons import OWN, TRIED
from engines.types import Device
from flows.bundle.contents import BadBundle, glibc_and_architecture

MEMORY_BYTES, SLOTS = 10**12, tuple(f"GPU {number}" for number in range(64))  # so that no cell is left out for these
UV_GLIBCS = (*range(40, 30, -1), 28, 17)  # minor versions of glibc that uv resolves for
ALIASES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}  # of glibc's minor version, PEP 600


@dataclass(frozen=True)
class Target:
    """The machine that wheels are for: `platform` as in their names (manylinux_2_28_x86_64), `python` as 3.11, `gpu` is
    its compute capability where it has one and this machine need not.
    """

    platform: str
    python: str
    gpu: str = ""

    @property
    def device(self) -> Device | None:
        """What a plan is checked for in place of this machine's device; of its number and memory nothing is known."""
        if not self.gpu:
            return None
        features = frozenset({f"sm{self.gpu.replace('.', '')}"})
        return Device("cuda", f"a GPU of compute capability {self.gpu}", features, MEMORY_BYTES, SLOTS)

    def backend(self, here: str | None) -> str | None:
        """PyTorch's builds for it: uv's choice for this machine, `here`, or those of PyPI, which are for GPUs."""
        return None if self.gpu and here == "auto" else here

    @property
    def arguments(self) -> tuple[str, ...]:
        """The same for uv: of the glibc versions that it knows the newest that is not newer than the machine's."""
        minor, architecture = glibc_and_architecture(self.platform)
        known = next(version for version in UV_GLIBCS if version <= minor)
        return "--python-version", self.python, "--python-platform", f"{architecture}-manylinux_2_{known}"

    @property
    def runs_what_is_built_here(self) -> bool:
        """Whether what is compiled on this machine runs there: the same processor, and no older glibc."""
        here = glibc_and_architecture(target_of(None, None).platform)
        there = glibc_and_architecture(self.platform)
        return there[1] == here[1] and there[0] >= here[0]

    def best(self, names: Collection[str]) -> str | None:
        """The wheel that an installer takes there; None where none is for that machine."""
        minor, architecture = glibc_and_architecture(self.platform)
        glibcs = [(f"manylinux_2_{n}", ALIASES.get(n)) for n in range(minor, 4, -1)]
        platforms = [f"{tag}_{architecture}" for tags in glibcs for tag in tags if tag] + [f"linux_{architecture}"]
        version = [int(part) for part in self.python.split(".")]
        interpreter = f"cp{self.python.replace('.', '')}"
        tags = chain(
            cpython_tags(version, platforms=platforms), compatible_tags(version, interpreter, platforms=platforms)
        )
        order: dict[object, int] = {}
        for rank, tag in enumerate(tags):
            order.setdefault(tag, rank)
        ranks = {name: [order[tag] for tag in parse_wheel_filename(name)[3] if tag in order] for name in names}
        return min((name for name in names if ranks[name]), key=lambda name: (min(ranks[name]), name), default=None)


def target_of(wheels: str | None, python: str | None, gpu: str | None = None) -> Target:
    """The machine of these wheels, this Python and this GPU; by default one like this, with this program's Python.

    Raises BadBundle.
    """
    library, version = platform.libc_ver()
    if wheels is None and library != "glibc":
        raise BadBundle("this machine has no glibc, so its wheels are others. Name a machine by --platform")
    target = Target(wheels or f"manylinux_2_{version.split('.')[1]}_{platform.machine()}", python or OWN, gpu or "")
    if glibc_and_architecture(target.platform)[0] < UV_GLIBCS[-1]:
        raise BadBundle(
            f"--platform {target.platform}: uv resolves for glibc 2.{UV_GLIBCS[-1]} or newer. Name a newer one"
        )
    if target.python not in TRIED:
        raise BadBundle(
            f"--python {target.python:.20}: bitfrontier runs on {', '.join(reversed(TRIED))}. Name one of these"
        )
    if gpu and not re.fullmatch(r"\d{1,2}\.\d", gpu):
        raise BadBundle(f"--gpu {gpu:.40}: it is no compute capability. Write it as 9.0 (H100, H200) or 8.0 (A100)")
    return target
