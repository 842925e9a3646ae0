"""`python -m engines.telemetry.bandwidth_cpu THREADS`: how many bytes per second so many threads read from this
machine's memory.

Each multiplies a vector with a matrix of its own, which is what decoding does, and far larger than any cache. A matrix
that fits into a cache is multiplied far faster, so that memory is the limit, not arithmetic; numpy's sums read more
slowly, and a copy writes as well.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import numpy as np
import psutil

from engines.telemetry.device import memory_limit

BYTES_PER_THREAD = 256 * 1024**2  # 8 times 32 MiB, more than a core's share of any last-level cache
COLUMNS = 2048
REPEATS = 80  # 2 to 4 seconds, so that a busy machine has a quiet moment among them
SHARE_OF_FREE_MEMORY = 0.25


def rates(threads: int, bytes_per_thread: int, repeats: int) -> list[float]:
    """Bytes per second of each repeat, all threads together, from the first one's start to the last one's end.

    Every thread takes its own times: one that only waits for them may wake late, and then see too short a time.
    """
    rows = max(bytes_per_thread // (4 * COLUMNS), 1)
    barrier = threading.Barrier(threads)
    times: list[list[tuple[float, float]]] = [[] for _ in range(threads)]

    def work(own: list[tuple[float, float]]) -> None:
        matrix, vector = np.ones((rows, COLUMNS), dtype=np.float32), np.ones(rows, dtype=np.float32)
        for _ in range(repeats + 1):  # the first one is not counted
            barrier.wait()
            started = time.perf_counter()
            vector @ matrix
            own.append((started, time.perf_counter()))

    workers = [threading.Thread(target=work, args=(own,)) for own in times]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    repeated = list(zip(*times, strict=True))[1:]
    seconds = [max(end for _, end in spans) - min(start for start, _ in spans) for spans in repeated]
    return [threads * rows * COLUMNS * 4 / duration for duration in seconds]


def main() -> None:
    threads = int(sys.argv[1])
    free = min(psutil.virtual_memory().available, memory_limit())
    most = int(SHARE_OF_FREE_MEMORY * free / threads)
    bytes_per_second = rates(threads, min(BYTES_PER_THREAD, most), REPEATS)
    how = f"a vector times a float32 matrix, in {threads} thread{'s' if threads > 1 else ''}"
    print(json.dumps({"bytes_per_second": bytes_per_second, "how": how}))


if __name__ == "__main__":
    main()
