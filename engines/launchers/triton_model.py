"""The model behind Triton's Python backend: our loop around Transformers, as a decoupled model.

Triton calls `execute` with requests; each gets a response for every token, or one in the end, or its scores. Tensors
are those of `engines.launchers.triton_server`. Interface: https://github.com/triton-inference-server/python_backend
"""

from __future__ import annotations

import hmac
import json
import os
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
import triton_python_backend_utils as triton
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from engines.reference_server.api_schema import BadRequest, Limits, Scored, read_completion, read_items
from engines.reference_server.model_loading import load
from engines.reference_server.model_thread import end_process
from engines.reference_server.requests import Generation, ScoreJob, stop_ids
from engines.reference_server.scheduler import Loop

FINAL = triton.TRITONSERVER_RESPONSE_COMPLETE_FINAL
PEAK = "bitfrontier_kv_cache_peak_bytes"


class TritonPythonModel:
    """What Triton's Python backend looks for by this name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the checkpoint. `args["model_config"]` holds our settings."""
        given = json.loads(json.loads(args["model_config"])["parameters"]["settings"]["string_value"])
        torch.set_num_threads(given["threads"])
        model, facts = load(given["model"], given["device"], given["dtype"])
        print("bitfrontier-facts " + json.dumps({"transformers": transformers.__version__, **facts}), flush=True)
        self._tokenizer = Tokenizer.from_file(f"{given['model']}/tokenizer.json")
        self._stop_ids = stop_ids(Path(given["model"]))
        self._limits = Limits(model.config.vocab_size, given["max_model_len"])
        self._loop = Loop(model, given["max_batch"], on_crash=end_process)
        family = triton.MetricFamily(name=PEAK, description="Highest use of KV cache", kind=triton.MetricFamily.GAUGE)
        self._family, self._peak, self._lock = family, family.Metric(labels={}), threading.Lock()
        self._loop.start()

    def execute(self, requests: list[Any]) -> None:
        """Take every request; the answers are sent from the thread that owns the model."""
        for request in requests:
            sender, inputs = request.get_response_sender(), _inputs(request)
            try:
                _check_key(inputs.pop("key", b""))
                if "items" in inputs:
                    self._score(sender, json.loads(inputs["items"]))
                else:
                    self._generate(sender, inputs)
            except (BadRequest, ValueError) as error:
                sender.send(triton.InferenceResponse(error=triton.TritonError(str(error))), flags=FINAL)

    def _score(self, sender: Any, items: Any) -> None:
        future: Future[list[list[Scored]]] = Future()

        def send(done: Future[list[list[Scored]]]) -> None:
            documents = [[scored.as_json() for scored in scores] for scores in done.result()]
            sender.send(triton.InferenceResponse([_text("scores", json.dumps(documents))]), flags=FINAL)

        future.add_done_callback(send)
        self._loop.submit(ScoreJob(read_items({"items": items}, self._limits), future))

    def _generate(self, sender: Any, inputs: dict[str, Any]) -> None:
        wanted = read_completion({"temperature": 0, **inputs}, None, self._limits)
        decoder, produced = DecodeStream(skip_special_tokens=True), []

        def emit(token: int, reason: str | None) -> None:
            produced.append(token)
            piece = decoder.step(self._tokenizer, token) or ""
            if not reason and sender.is_cancelled():  # never asked after the final response: it would end Triton
                generation.cancelled = True
                sender.send(flags=FINAL)
                return
            if reason:
                with self._lock:
                    self._peak.set(self._loop.peak_cache_bytes)
            if wanted.stream or reason:
                text = piece if wanted.stream else self._tokenizer.decode(produced)
                counts = [_count("prompt_tokens", len(wanted.prompt)), _count("completion_tokens", len(produced))]
                sender.send(triton.InferenceResponse([_text("text", text), *counts]), flags=FINAL if reason else 0)

        stops = frozenset[int]() if wanted.ignore_eos else self._stop_ids
        generation = Generation(wanted.prompt, wanted.max_tokens, stops, emit)
        self._loop.submit(generation)


def _check_key(key: bytes) -> None:
    """Raise BadRequest for all but the key of this start."""
    if not hmac.compare_digest(key, os.environ["BITFRONTIER_API_KEY"].encode()):
        raise BadRequest("the key is missing or wrong")


def _inputs(request: Any) -> dict[str, Any]:
    """The request's tensors as what JSON would have brought."""
    inputs: dict[str, Any] = {}
    for tensor in request.inputs():
        values = tensor.as_numpy().tolist()
        inputs[tensor.name()] = values if tensor.name() == "prompt" else values[0]
    return inputs


def _text(name: str, value: str) -> Any:
    return triton.Tensor(name, np.array([value.encode()], dtype=np.object_))


def _count(name: str, value: int) -> Any:
    return triton.Tensor(name, np.array([value], dtype=np.int32))
