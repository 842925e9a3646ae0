"""`python -m engines.telemetry.bandwidth_cuda`: bytes per second that the first GPU's memory moves; needs torch.

A copy within the device, timed by its own events: it reads and writes, and both are counted.
"""

from __future__ import annotations

import json

import torch

BYTES = 1024**3
REPEATS = 15
WARM_UPS = 3


def seconds_of_a_copy(target: torch.Tensor, source: torch.Tensor) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    target.copy_(source)
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000


def main() -> None:
    source = torch.ones(BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    for _ in range(WARM_UPS):
        target.copy_(source)
    torch.cuda.synchronize()
    rates = [2 * BYTES / seconds_of_a_copy(target, source) for _ in range(REPEATS)]
    print(json.dumps({"bytes_per_second": rates, "how": "a copy of 1 GiB within the device, read and written"}))


if __name__ == "__main__":
    main()
