"""`python -m engines.launchers.transformers_server`: Transformers behind our server. Runs in the environment
`transformers`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer

from engines.reference_server.http_api import serve
from engines.reference_server.model_loading import load
from engines.reference_server.model_thread import end_process
from engines.reference_server.requests import Served, stop_ids
from engines.reference_server.scheduler import Loop


def read_arguments(description: str | None) -> argparse.Namespace:
    """The command line of every server around a torch module; the threads are set at once."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-batch", type=int, default=64)
    parser.add_argument("--max-model-len", type=int, default=2048)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return given


def run(given: argparse.Namespace, model: Any, facts: Mapping[str, Any]) -> None:
    """Say `facts`, then serve `model` (called as a causal language model of Transformers) until the process ends."""
    print("bitfrontier-facts " + json.dumps(facts), flush=True)
    loop = Loop(model, given.max_batch, on_crash=end_process)
    loop.start()
    versions = {"version": str(facts["version"]), "torch": torch.__version__}
    tokenizer = Tokenizer.from_file(f"{given.model}/tokenizer.json")
    served = Served(tokenizer, stop_ids(Path(given.model)), model.config.vocab_size, versions)
    serve(served, loop, given.port, given.max_model_len)


def main() -> None:
    given = read_arguments(__doc__)
    model, facts = load(given.model, given.device, given.dtype)
    run(given, model, {"version": transformers.__version__, **facts})


if __name__ == "__main__":
    main()
