"""`ollama serve` for tests: the pages of its documents (docs/api.md) over the real llama-server.

Started as `ollama.py PYTHON serve`, where PYTHON is the interpreter of the environment `llama-cpp`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from pages import Pages

STORE = Path(os.environ["OLLAMA_MODELS"])
OPTIONS = {
    "num_keep",
    "seed",
    "num_predict",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repeat_last_n",
    "temperature",
    "repeat_penalty",
    "presence_penalty",
    "frequency_penalty",
    "stop",
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "num_thread",
}


class Runner:
    """One llama-server, started when its model is first asked for, as Ollama starts its runners."""

    def __init__(self, blob: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.key = secrets.token_hex(8)
        slots, context = os.environ.get("OLLAMA_NUM_PARALLEL", "1"), os.environ.get("OLLAMA_CONTEXT_LENGTH", "4096")
        self.blob = blob
        self.process = subprocess.Popen(
            [
                sys.argv[1],
                "-m",
                "engines.launchers.llama_cpp_server",
                "--model",
                str(blob),
                "--port",
                str(self.port),
                "--threads",
                "2",
                "--context",
                context,
                "--parallel",
                slots,
            ],
            env={**os.environ, "BITFRONTIER_API_KEY": self.key},
        )
        for _ in range(400):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5)
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)

    def lines(self, prompt: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        body = {
            "prompt": prompt,
            "stream": True,
            "n_predict": options.get("num_predict", -1),
            "cache_prompt": True,
            "temperature": options.get("temperature", 0.8),
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/completion",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.key}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])


class Ollama(Pages):
    key = ""  # it has none
    models: ClassVar[dict[str, Path]] = {}
    running: ClassVar[dict[str, Runner]] = {}

    def blob(self) -> Path:
        return STORE / "blobs" / self.path.rsplit("/", 1)[1].replace(":", "-")

    def do_HEAD(self) -> None:
        self.send_response(200 if self.blob().exists() else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        if self.path == "/api/version":
            return self.say(200, {"version": "0.0.0-emulator"})
        if self.path == "/api/ps":
            models = [
                {"name": name, "model": name, "size": runner.blob.stat().st_size + 1000, "size_vram": 0}
                for name, runner in self.running.items()
            ]
            return self.say(200, {"models": models})
        return self.say(404)

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if self.path.startswith("/api/blobs/"):
            return self._take_blob(length)
        body = json.loads(self.rfile.read(length)) if length else {}
        if self.path == "/api/create":
            return self._create(body)
        if body.get("model") not in self.models:
            return self.say(404, {"error": f"model '{body.get('model')}' not found"})
        if self.path == "/api/show":
            return self.say(200, {"details": {"format": "gguf", "family": "llama", "parameter_size": "134.52M"}})
        if self.path == "/api/generate":
            return self._generate(body)
        return self.say(404)

    def _take_blob(self, length: int) -> None:
        content = b"".join(self._parts(length))
        wanted = self.blob().name.removeprefix("sha256-")
        if hashlib.sha256(content).hexdigest() != wanted:
            return self.say(400, {"error": "digest mismatch"})
        try:
            self.blob().parent.mkdir(parents=True, exist_ok=True)
            self.blob().write_bytes(content)
        except OSError as error:
            return self.say(500, {"error": str(error)})
        return self.say(201)

    def _parts(self, length: int) -> Iterator[bytes]:
        """The body, whether its length was told or it comes in chunks."""
        if self.headers.get("transfer-encoding") != "chunked":
            yield self.rfile.read(length)
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _create(self, body: dict[str, Any]) -> None:
        """`files` names blobs by their digests."""
        digests = list(body.get("files", {}).values())
        blobs = [STORE / "blobs" / digest.replace(":", "-") for digest in digests]
        if len(blobs) != 1 or not re.fullmatch(r"sha256:[0-9a-f]{64}", digests[0]) or not blobs[0].exists():
            return self.say(400, {"error": "neither 'from' or 'files' was specified"})
        self.models[body["model"]] = blobs[0]
        if body.get("stream", True):
            return self.say(500, {"error": "this emulator makes models without a stream alone"})
        return self.say(200, {"status": "success"})

    def _generate(self, body: dict[str, Any]) -> None:
        name, options = body["model"], body.get("options", {})
        if set(options) - OPTIONS:
            return self.say(400, {"error": f"invalid option provided: {sorted(set(options) - OPTIONS)}"})
        if name not in self.running:
            self.running[name] = Runner(self.models[name])
        if not body.get("prompt"):
            return self.say(200, {"model": name, "response": "", "done": True, "done_reason": "load"})
        if not body.get("raw"):
            body["prompt"] = f"<|im_start|>user\n{body['prompt']}<|im_end|>\n<|im_start|>assistant\n"
        began, text, last = time.perf_counter_ns(), "", {}
        stream = body.get("stream", True)
        if stream:
            self.open_stream("application/x-ndjson")
        for event in self.running[name].lines(body["prompt"], options):
            last = event
            text += event.get("content", "")
            if stream and event.get("content"):
                self._line({"model": name, "response": event["content"], "done": False})
        timings = last["timings"]
        closing = {
            "model": name,
            "response": "" if stream else text,
            "done": True,
            "done_reason": "stop" if last.get("stop_type") == "eos" else "length",
            "total_duration": time.perf_counter_ns() - began,
            "load_duration": 0,
            "prompt_eval_count": last["tokens_evaluated"],
            "prompt_eval_duration": int(timings["prompt_ms"] * 1e6),
            "eval_count": timings["predicted_n"],
            "eval_duration": int(timings["predicted_ms"] * 1e6),
        }
        if not stream:
            return self.say(200, closing)
        self._line(closing)
        return self.close_stream()

    def _line(self, value: dict[str, Any]) -> None:
        self.write_chunk(json.dumps(value).encode() + b"\n")


if __name__ == "__main__":
    assert sys.argv[2:] == ["serve"], sys.argv
    host, port = os.environ["OLLAMA_HOST"].rsplit(":", 1)
    ThreadingHTTPServer((host, int(port)), Ollama).serve_forever()
