"""A server for tests of the plumbing: it speaks the wire protocols of our dialects over a made-up model.

In a test: `with emulate("good") as endpoint_of`. As a process: emulator.py PORT KEY BEHAVIOUR. No figure of it is ever
a result.

Behaviours: good, exits, silent; of streams: cut-N (written N bytes at a time), split (a character of two tokens),
late-usage, no-usage, strange, error-in-stream, drop-in-stream, no-end, wrong-counts; of answers: error, drop-first,
drop, hang, busy (once), busy-later (once, with Retry-After), always-busy, ignored (what was asked for is left out),
shifted, no-flush, slow-kernel (its log says that a slow one was chosen, with the first request); of what it can do:
plain (OpenAI's fields alone, others are left unread), strict (others are refused), timed (no continuous_usage_stats),
cached (four tokens of every prompt from a prefix cache), text-only (no prompts of token ids), uncounted (no usage in
answers), one-prompt (no lists of prompts), no-metrics; of failures: starved (ends for want of memory), taken (its port
is), hang-in-stream, dies-in-stream (by SIGKILL), nan (log-probabilities that are none), page (answers with HTML),
repeats-key (refuses with the text `refusal`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from tests.support.emulated_answers import Answers
from tests.support.made_up_model import TEXTS

OPENAI = {"model", "prompt", "max_tokens", "temperature", "stream", "stream_options", "echo", "logprobs"}


class Handler(Answers, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    key = ""
    behaviour = "good"
    requests = 0
    flushes = 0
    refusal = ""
    about: ClassVar[dict[str, Any]] = {}  # what it says of itself, by path

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        content = b"ok" if self.path == "/health" else b"bitfrontier_kv_cache_peak_bytes 77\n"
        if self.path == "/flushes":
            content = str(self.flushes).encode()
        if self.path in self.about:
            content = json.dumps(self.about[self.path]).encode()
        away = self.behaviour == "no-metrics" and self.path == "/metrics"
        self._answer(503 if self.behaviour == "unwell" else 404 if away else 200, content)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/flush_cache":
            type(self).flushes += 1
            return self._answer(500 if self.behaviour == "no-flush" else 200, b"Cache flushed.")
        if self.path == "/api/show":
            return self._answer(404 if self.behaviour == "no-model" else 200, b'{"details": {"family": "llama"}}')
        asked = json.loads(content)
        body = self._read(asked)
        type(self).requests += 1
        if refusal := self._refusal(asked, body):
            return self._answer(*refusal)
        if self.headers.get("authorization") != f"Bearer {self.key}":
            return self._answer(401, b"{}")
        if self._fails():
            return None
        if self.behaviour == "slow-kernel":  # vLLM tells of some kernels only when it first uses them
            print(
                "x quantization is not fully optimized yet. The speed can be slower than non-quantized models.",
                flush=True,
            )
        body = self._known(body)
        if body.get("stream") or self.path == "/generate_stream":
            return self._stream(body)
        return self._json(self.payload(body))

    def _read(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The request with `prompt` as token ids and `max_tokens`, whatever its form calls them."""
        body = dict(asked)
        text = body.get("inputs", body.get("text_input", body.get("prompt")))
        if isinstance(text, str):  # a word "w7" is the token 7: the tokenizer of the tests
            body["prompt"] = [int(word[1:]) if word[1:].isdigit() else 0 for word in text.split()]
        if self.path.startswith("/generate") and "inputs" in body:
            body["max_tokens"] = body["parameters"]["max_new_tokens"]
        if self.path == "/api/generate":
            body["max_tokens"] = body["options"]["num_predict"]
        if "text_input" in body:
            body |= json.loads(body["sampling_parameters"])
        return body

    def _refusal(self, asked: dict[str, Any], body: dict[str, Any]) -> tuple[int, bytes] | None:
        """What a server that cannot do so much says of a request."""
        if self.behaviour == "text-only" and not isinstance(asked.get("prompt", asked.get("inputs")), str):
            return 422, b"prompt must be a string"
        if self.behaviour == "one-prompt" and isinstance(body["prompt"][0], list):
            return 400, b"one prompt a request"
        if self.behaviour == "strict" and set(body) - OPENAI:
            return 400, f"unknown fields {sorted(set(body) - OPENAI)}".encode()
        return None

    def _known(self, body: dict[str, Any]) -> dict[str, Any]:
        """What a server that leaves unknown fields unread sees of it."""
        if self.behaviour in ("plain", "strict"):
            body = {name: value for name, value in body.items() if name in OPENAI}
        if self.behaviour in ("plain", "strict", "timed"):
            body.get("stream_options", {}).pop("continuous_usage_stats", None)
        return body

    def _fails(self) -> bool:
        """Answer as the behaviour wants, if it concerns the answer as a whole."""
        first = self.requests == 1
        if self.behaviour == "error":
            self._answer(500, b"the kernel is missing")
        elif self.behaviour == "repeats-key":
            self._answer(400, self.refusal.encode())
        elif self.behaviour == "hang":
            time.sleep(3)
        elif self.behaviour == "drop" or (self.behaviour == "drop-first" and first):
            self.close_connection = True
        elif self.behaviour == "always-busy" or (self.behaviour == "busy" and first):
            self._answer(503, b"too many requests")
        elif self.behaviour == "busy-later" and first:
            self._answer(429, b"too many requests", {"retry-after": "0.4"})
        else:
            return False
        return True

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        if self._kserve:
            self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        for payload in self._events(body):
            time.sleep(0.002)
            line = json.dumps(payload, ensure_ascii=False).encode()
            self._write(line + b"\n" if self.path == "/api/generate" else b"data: " + line + b"\n\n")
        if self.behaviour in ("drop-in-stream", "no-end"):
            return
        if self._kserve:
            self.wfile.write(b"0\r\n\r\n")
        elif self.path.startswith("/v1/"):
            self._write(b"data: [DONE]\n\n")

    @property
    def _kserve(self) -> bool:
        return self.path.startswith("/v2/")

    def _events(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        count, sent = body["max_tokens"] - (self.behaviour == "wrong-counts"), 0
        continuous = body.get("stream_options", {}).get("continuous_usage_stats")
        for number in range(1, count + 1):
            if number == 3 and self.behaviour == "error-in-stream":
                yield {"error": {"message": "out of memory in step 3", "code": 500}}
                return
            if number == 3 and self.behaviour == "drop-in-stream":
                return
            if number == 3 and self.behaviour == "hang-in-stream":
                time.sleep(600)
            if number == 3 and self.behaviour == "dies-in-stream":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.behaviour == "split" and number % 2 and number < count:
                continue  # the first token of a character of two: its chunk comes with the second
            if self.behaviour == "strange":
                yield {"choices": [None]} if self.path.startswith("/v1/") else {"model_name": "served"}
                return
            text = TEXTS[number % len(TEXTS)]
            if "text_input" in body:
                yield {"text_output": text, **self.counts(body, number - sent)}
                sent = number
                continue
            if self._kserve:
                yield {"text": text, **self.usage(body, number)}
                continue
            if self.path == "/generate_stream":
                yield self._tgi_event(body, number, text, last=number == count)
                continue
            if self.path == "/api/generate":
                yield {"response": text, "done": False}
                continue
            event: dict[str, Any] = {"choices": [{"text": TEXTS[number % len(TEXTS)]}]}
            if continuous:
                event["usage"] = self.usage(body, number)
            if body.get("timings_per_token"):
                event["timings"] = {"predicted_n": number}
            if number == count and self.behaviour == "late-usage":
                event["usage"] = self.usage(body, count)  # in the last chunk with text instead of one of its own
            yield event
        if self.path == "/api/generate" and self.behaviour != "no-end":
            yield {"response": "", "done": True, **self.ollama_counts(body, count)}
        if self.behaviour not in ("no-usage", "late-usage") and self.path.startswith("/v1/"):
            yield {"choices": [], "usage": self.usage(body, count)}

    def _tgi_event(self, body: dict[str, Any], number: int, text: str, *, last: bool) -> dict[str, Any]:
        token = {"id": 1, "text": text, "logprob": -0.5, "special": False}
        event: dict[str, Any] = {"index": number, "token": token, "generated_text": None, "details": None}
        if last and self.behaviour not in ("no-usage", "no-end"):
            counts = {"generated_tokens": number, "input_length": len(body["prompt"])}
            event |= {"generated_text": "the capital is", "details": {"finish_reason": "length", **counts}}
        return event

    def _write(self, data: bytes) -> None:
        size = int(self.behaviour.removeprefix("cut-")) if self.behaviour.startswith("cut-") else len(data)
        for start in range(0, len(data), size):
            part = data[start : start + size]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if self._kserve else part)
            self.wfile.flush()

    def _json(self, payload: dict[str, Any]) -> None:
        self._answer(200, b"<html>" if self.behaviour == "page" else json.dumps(payload).encode())

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def server(port: int, key: str, behaviour: str) -> ThreadingHTTPServer:
    handler = type("Behaving", (Handler,), {"key": key, "behaviour": behaviour})
    made = ThreadingHTTPServer(("127.0.0.1", port), handler)
    made.daemon_threads = True
    return made


@contextlib.contextmanager
def emulate(behaviour: str, key: str = "key") -> Iterator[str]:
    """The address of an emulator that runs in a thread of this process."""
    running = server(0, key, behaviour)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}"
    finally:
        running.shutdown()
        running.server_close()


if __name__ == "__main__":
    print("fake-fact 42", flush=True)
    if sys.argv[3] == "exits":
        print("no such kernel on this machine")
        raise SystemExit(7)
    if sys.argv[3] == "starved":
        raise SystemExit("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB.")
    if sys.argv[3] == "taken":
        other = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    if sys.argv[3] == "silent":
        time.sleep(600)
    server(int(sys.argv[1]), sys.argv[2], sys.argv[3]).serve_forever()
