"""`python -m engines.launchers.llama_cpp_server`: the real llama-server, out of the wheel xllamacpp (which has no
command line) or the user's own executable, with equal settings.

Listens on 127.0.0.1 only and wants the key in BITFRONTIER_API_KEY. Runs in the environment `llama-cpp`.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
from importlib.metadata import version
from typing import NoReturn

import xllamacpp


def become(executable: str, given: argparse.Namespace) -> NoReturn:
    """Turn into the user's llama-server. Its key goes by a variable: a command line can be read by every user."""
    completed = subprocess.run([executable, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"version: (\S+)", completed.stdout + completed.stderr)
    print(f"bitfrontier-version {match[1] if match else 'unknown'} of {executable}", flush=True)
    os.environ["LLAMA_API_KEY"] = os.environ["BITFRONTIER_API_KEY"]
    os.execv(
        executable,
        [
            executable,
            "--model",
            given.model,
            "--host",
            "127.0.0.1",
            "--port",
            str(given.port),
            "--threads",
            str(given.threads),
            "--threads-batch",
            str(given.threads),
            "--poll",
            "0",
            "--parallel",
            str(given.parallel),
            "--ctx-size",
            str(given.context * given.parallel),
            "--verbosity",
            "4",
            "--threads-http",
            "4",
            "--metrics",
            "--no-webui",
            "--cache-ram",
            "0",
        ],
    )


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
    parser.add_argument("--executable")
    given = parser.parse_args()
    if given.executable:
        become(given.executable, given)
    print(f"bitfrontier-version {version('xllamacpp')}", flush=True)  # before it answers: then the log is read
    server = xllamacpp.Server(parameters(given))
    print(f"listening on {server.listening_address}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
