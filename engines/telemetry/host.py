"""Which machine this is: facts beside a measurement, not part of what decides whether it is valid."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import secrets
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

MACHINE_ID = Path("/etc/machine-id")
CPU_INFO = Path("/proc/cpuinfo")
SESSION = secrets.token_hex(4)  # which process measured: an hour later the machine may be another one


@cache
def host_id() -> str:
    """Twelve digits of a hash of the machine's id, as machine-id(5) asks for, which show neither it nor the name. Where
    there is no such file, the host's name is hashed.
    """
    identity = platform.node()
    with contextlib.suppress(OSError):
        identity = MACHINE_ID.read_text(encoding="ascii").strip() or identity
    return hashlib.sha256(f"bitfrontier host {identity}".encode()).hexdigest()[:12]


@cache
def cpu_model() -> str:
    """As the kernel names it; the architecture where it does not."""
    with contextlib.suppress(OSError):
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            field, _, value = line.partition(":")
            if field.strip() == "model name":
                return value.strip()
    return platform.machine()


def utc_now() -> str:
    """To the second, as ISO 8601 with a Z."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
