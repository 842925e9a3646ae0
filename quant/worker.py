"""The child process that runs one method: `python -m quant.worker job.json`.

It gets one job file and leaves one result file beside it; the parent trusts neither its words nor its exit code
alone and reads the checkpoint itself. `python -m quant.worker --probe` prints versions and devices.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import random
import resource
import sys
import time
import traceback
import warnings
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from quant.canonical_json import write_json
from quant.checkpoints.configuration import architecture_of
from quant.checkpoints.detect import read_config
from quant.checkpoints.model_files import STORED_FILES, stage
from quant.errors import BitfrontierError, CellFailure, one_line
from quant.foreign_failures import kind_of, raised_by
from quant.no_remote_code import forbid_remote_code, forbid_telemetry
from quant.progress import report
from quant.registry import Method, methods_in
from quant.types import Calibration


def load_method(module: str, file: str, name: str) -> Method:
    """The method `name` of `module`, read from `file` where the module is not importable here."""
    try:
        loaded: Any = importlib.import_module(module)
    except ModuleNotFoundError:
        spec = importlib.util.spec_from_file_location(module, file)
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} cannot be loaded as the module {module}") from None
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[module] = loaded
        spec.loader.exec_module(loaded)
    for method in methods_in(loaded):
        if method.name == name:
            return method
    raise ImportError(f"{file} has no method named '{name}'")


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run the job's method and describe what happened; never raises for the method's own failure."""
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            _call(job)
        except (Exception, SystemExit) as error:  # a method's failure becomes a row of the report, with its words
            return _failed(error, Path(job["model"]))
    return {
        "status": "ok",
        "seconds": {"total": time.perf_counter() - started},
        # Linux counts ru_maxrss in KiB (getrusage(2))
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "versions": {name: version(name) for name in job["versions_of"] if _installed(name)},
        "warnings": sorted({str(warning.message)[:300] for warning in caught})[:20],
    }


def _failed(error: BaseException, model: Path) -> dict[str, Any]:
    """The failure's kind where it is known, and the tool's own message, with the architecture and the place, of which
    tools say little. A tool that ends itself by a number alone has said why on stderr, which is its log: there the
    `log_explains`, and no traceback comes after it.
    """
    places: list[str] = []
    if not isinstance(error, BitfrontierError):
        with contextlib.suppress(
            CellFailure, LookupError, TypeError, ValueError
        ):  # what failed is told, whatever this is
            places.append(architecture_of(read_config(model)).name)
        places.append(raised_by(error))
    where = f" ({', '.join(filter(None, places))})" if any(places) else ""
    if isinstance(error, SystemExit) and not isinstance(error.code, str):
        reason = f"the tool ended itself with exit code {error.code or 0}{where}"
        return {"status": "failed", "kind": None, "reason": reason, "log_explains": True, "traceback": ""}
    kind, trace = kind_of(error), "".join(traceback.format_exception(error))
    reason = f"{one_line(error)}{where}"
    return {"status": "failed", "kind": kind, "reason": reason, "log_explains": False, "traceback": trace}


def _call(job: dict[str, Any]) -> None:
    forbid_telemetry()
    chosen = load_method(job["module"], job["file"], job["method"])
    _limit_threads(job["threads"], job["seed"])
    forbid_remote_code()
    place = Path(job["out"]).parent / "staged"
    arguments: list[Any] = [stage(Path(job["model"]), place / "model"), Path(job["out"])]
    if job["takes_calibration"]:
        raw = job["calibration"]
        arguments.append(Calibration(**{**raw, "token_ids": Path(raw["token_ids"])}) if raw else None)
    report("quantize", 0, 1)
    stored = {
        parameter.name: Path(job["parameters"][parameter.name]) for parameter in chosen.parameters if parameter.stored
    }
    staged = {name: str(stage(folder, place / name, STORED_FILES)) for name, folder in stored.items()}
    chosen.function(*arguments, **{**job["parameters"], **staged})
    report("quantize", 1, 1)


def _limit_threads(threads: int, seed: int) -> None:
    random.seed(seed)
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.set_num_threads(threads)
    torch.manual_seed(seed)


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def probe() -> dict[str, Any]:
    """What this environment holds: Python, packages with versions, devices that torch sees (if it has torch)."""
    packages = {
        str(distribution.metadata["Name"]).lower().replace("_", "-"): distribution.version
        for distribution in distributions()
    }
    devices = ["cpu"]
    if "torch" in packages:
        import torch

        devices += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"python": sys.version.split()[0], "packages": packages, "devices": devices}


def main() -> int:
    if sys.argv[1:] == ["--probe"]:
        print(json.dumps(probe()))
        return 0
    job_file = Path(sys.argv[1])
    os.chdir(job_file.parent)  # tools leave logs in the working directory
    result = run(json.loads(job_file.read_text(encoding="utf-8")))
    write_json(job_file.parent / "result.json", result)
    if result["status"] != "ok":
        print(result["traceback"], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
