"""`python -m engines.thin.app`: Transformers behind our server. Runs in the environment `transformers`."""

from __future__ import annotations

import argparse
import json
import os

import torch
import transformers
from tokenizers import Tokenizer

from engines.thin.jobs import Served
from engines.thin.load import load, stop_ids
from engines.thin.loop import Loop
from engines.thin.web import serve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-batch", type=int, default=64)
    parser.add_argument("--max-model-len", type=int, default=2048)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model, facts = load(given.model, given.device, given.dtype)
    print("bitfrontier-facts " + json.dumps(facts), flush=True)
    loop = Loop(model, given.max_batch, on_crash=lambda error: os._exit(1))
    loop.start()
    versions = {"version": transformers.__version__, "torch": torch.__version__}
    tokenizer = Tokenizer.from_file(f"{given.model}/tokenizer.json")
    served = Served(tokenizer, stop_ids(given.model), model.config.vocab_size, versions)
    serve(served, loop, given.port, given.max_model_len)


if __name__ == "__main__":
    main()
