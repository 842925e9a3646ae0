"""`python -m engines.launchers.openvino_server`: OpenVINO GenAI behind our server. Runs in the environment
`openvino`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import openvino_genai
from tokenizers import Tokenizer

from engines.reference_server.http_api import serve
from engines.reference_server.model_thread import end_process
from engines.reference_server.openvino_runner import OpenVinoRunner
from engines.reference_server.requests import Served, stop_ids
from quant.checkpoints.configuration import vocabulary_size


def pipeline(given: argparse.Namespace) -> openvino_genai.ContinuousBatchingPipeline:
    """Continuous batching without prefix cache; the KV cache is set aside at once."""
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = given.kv_cache_gib
    scheduler.enable_prefix_caching = False
    settings = {
        "INFERENCE_NUM_THREADS": given.threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "KV_CACHE_PRECISION": given.kv_cache_dtype,
    }
    return openvino_genai.ContinuousBatchingPipeline(given.model, scheduler, "CPU", settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--max-model-len", type=int, required=True)
    parser.add_argument("--kv-cache-gib", type=int, required=True)
    parser.add_argument("--kv-cache-dtype", required=True)
    given = parser.parse_args()
    folder = Path(given.model)
    runner = OpenVinoRunner(pipeline(given), on_crash=end_process)
    facts = {
        "version": openvino_genai.__version__,
        "dtype": "float32",
        "weights_bytes": (folder / "openvino_model.bin").stat().st_size,
        "kernel": f"OpenVINO CPU plugin, KV cache {given.kv_cache_dtype}",
    }
    print("bitfrontier-facts " + json.dumps(facts), flush=True)
    runner.start()
    vocabulary = vocabulary_size(json.loads((folder / "config.json").read_text(encoding="utf-8"))) or 0
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    served = Served(tokenizer, stop_ids(folder), vocabulary, {"version": openvino_genai.__version__})
    serve(served, runner, given.port, given.max_model_len)


if __name__ == "__main__":
    main()
