"""`python -m engines.llama_app`: the real llama-server out of the wheel xllamacpp, which has no command line.

Listens on 127.0.0.1 only and wants the key in BITFRONTIER_API_KEY. Runs in the environment `llama-cpp`.
"""

from __future__ import annotations

import argparse
import os
import signal
from importlib.metadata import version

import xllamacpp


def parameters(given: argparse.Namespace) -> xllamacpp.CommonParams:
    """llama-server's settings: `context` tokens for each of `parallel` slots; no prompt is kept once it is answered."""
    chosen = xllamacpp.CommonParams()
    chosen.model.path = given.model
    chosen.hostnames = ["127.0.0.1"]
    chosen.port = given.port
    chosen.api_keys = [os.environ["BITFRONTIER_API_KEY"]]
    chosen.n_parallel = given.parallel
    chosen.n_ctx = given.context * given.parallel
    for pool in (chosen.cpuparams, chosen.cpuparams_batch):
        pool.n_threads = given.threads
        pool.poll = 0  # a thread that spins while it waits takes its core from the client and from neighbours
    chosen.verbosity = 4  # buffer sizes are told from here on
    chosen.n_threads_http = 4
    chosen.endpoint_metrics = True
    chosen.ui = False
    chosen.cache_ram_mib = 0  # by default up to 8 GiB of finished prompts stay in memory
    chosen.cache_idle_slots = False
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    for name in ("port", "threads", "context", "parallel"):
        parser.add_argument(f"--{name}", type=int, required=True)
    server = xllamacpp.Server(parameters(parser.parse_args()))
    print(f"bitfrontier-version {version('xllamacpp')} on {server.listening_address}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
