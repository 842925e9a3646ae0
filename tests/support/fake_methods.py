"""Small methods for tests of the plumbing. A worker imports this file alone, which is why they are not in `fake_sweep`."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from quant.progress import report
from quant.registry import method
from quant.types import Scheme

SLOW_SECONDS = 600


@method("none", format="safetensors", environment="llmcompressor", scheme=lambda _: Scheme("float16", "float16"))
def none(model: Path, out: Path) -> None:
    """Copies the model."""
    shutil.copytree(model, out, dirs_exist_ok=True)


@method("raises", format="safetensors", environment="llmcompressor", scheme=lambda _: Scheme("int8"))
def raises(model: Path, out: Path) -> None:
    """Raises."""
    raise RuntimeError("this method has no luck")


@method("no_baseline", format="safetensors", environment="llmcompressor", scheme=lambda _: Scheme("float32", "float32"))
def no_baseline(model: Path, out: Path) -> None:
    """A baseline that cannot be made."""
    raise RuntimeError("no such type")


@method("rounded", format="safetensors", environment="llmcompressor", scheme=lambda _: Scheme("int8"))
def rounded(model: Path, out: Path) -> None:
    """Copies the model as a quantized one."""
    shutil.copytree(model, out, dirs_exist_ok=True)


@method("writes_nothing", format="safetensors", environment="llmcompressor", scheme=lambda _: Scheme("int4"))
def writes_nothing(model: Path, out: Path) -> None:
    """Ends well without a checkpoint."""


@method("slow", format="safetensors", environment="llmcompressor", scheme=lambda _: Scheme("fp8", "fp8"))
def slow(model: Path, out: Path) -> None:
    """Takes its time."""
    report("sleeping", 0, 1)
    (out / "half.safetensors").write_bytes(b"half")
    time.sleep(SLOW_SECONDS)


@method("starves", format="safetensors", environment="llmcompressor", scheme=lambda _: Scheme("int8"))
def starves(model: Path, out: Path) -> None:
    """Wants more memory than any machine has."""
    bytearray(1 << 62)


@method("fills", format="safetensors", environment="llmcompressor", scheme=lambda _: Scheme("int8"))
def fills(model: Path, out: Path) -> None:
    """Writes to a device that is always full."""
    Path("/dev/full").write_bytes(b"weights")


@method("killed", format="safetensors", environment="llmcompressor", scheme=lambda _: Scheme("int8"))
def killed(model: Path, out: Path) -> None:
    """Is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


@method("torn", format="safetensors", environment="llmcompressor", scheme=lambda _: Scheme("float16"))
def torn(model: Path, out: Path) -> None:
    """Copies the model; a test cuts the copy."""
    shutil.copytree(model, out, dirs_exist_ok=True)


@method("elsewhere", format="safetensors", environment="openvino", scheme=lambda _: Scheme("int8"))
def elsewhere(model: Path, out: Path) -> None:
    """Runs in an environment for which the plan has no stand-in."""


@method("other", format="other", environment="llmcompressor", scheme=lambda _: Scheme("int8", "int8"))
def other(model: Path, out: Path) -> None:
    """Copies the model under another name."""
    shutil.copytree(model, out, dirs_exist_ok=True)
