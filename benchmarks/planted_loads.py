"""Is a spoilt measurement flagged? `python -m benchmarks.planted_loads`: four planted faults, and a sound load.

Against the server of a known schedule: prompts that came from a prefix cache, answers that stop early, and a load
client whose process is busy with other work; then a server's log with the line of a slow kernel. Prints what each is
flagged with; exits 1 where one is not, or where the sound load is.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load_client import scheduled
from benchmarks.support.schedule_server import Schedule
from engines.telemetry.kernel_log import kernel_facts
from evals.load.benchmark import LoadFailed, measure_speed
from evals.load.prompts import Prompts
from evals.schema.load import LoadPoint
from reports.metrics.load import load_metrics

LOAD = LoadPoint(8, 24, 40, 30)
STEADY = Schedule(ttft_seconds=0.1, tpot_seconds=0.02)
BUSY_THREADS = 4
LOG = """INFO 11-22 gptq_marlin.py:231] Detected that the model can run with gptq_marlin, however you specified \
quantization=gptq explicitly, so forcing gptq. Use quantization=gptq_marlin for faster inference
INFO 11-22 api_server.py:1] Started server process
"""


def flags(schedule: Schedule) -> list[str]:
    """What the report says of a load on such a server."""
    with scheduled(schedule) as endpoint:
        try:
            (speed,) = measure_speed(endpoint, [LOAD], Prompts(range(10, 1000)), repeats=2, seed=0)
        except LoadFailed as error:
            return [str(error)]
    return list(load_metrics(speed).warnings)


@contextmanager
def overload() -> Iterator[None]:
    """Threads that want this process's interpreter all the time."""
    done = threading.Event()

    def burn() -> None:
        while not done.is_set():
            sum(range(10_000))

    threads = [threading.Thread(target=burn, daemon=True) for _ in range(BUSY_THREADS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def slow_kernel() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        log.write_text(LOG, encoding="utf-8")
        return kernel_facts(log).get("kernel_warnings", "").splitlines()


def main() -> int:
    flagged = {
        "a sound load": flags(STEADY),
        "half of each prompt from a prefix cache": flags(Schedule(0.1, 0.02, cached_share=0.5)),
        "answers five tokens too short": flags(Schedule(0.1, 0.02, missing_tokens=5)),
        "the line of a slow kernel in the log": slow_kernel(),
    }
    with overload():
        flagged["a client with other work"] = flags(STEADY)
    words = {"sound": "", "prefix": "prefix cache", "short": "were asked for", "slow": "was forced", "client": "client"}
    right = []
    for name, warnings in flagged.items():
        print(f"{name}: {'; '.join(warnings) or 'not flagged'}")
        wanted = next(word for key, word in words.items() if key in name)
        right.append(any(wanted in warning for warning in warnings) if wanted else not warnings)
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
