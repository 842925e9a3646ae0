"""A server for tests of the plumbing: speaks our dialects, knows nothing. No figure of it is ever a result.

Usage: fake_server.py PORT KEY BEHAVIOUR; behaviours: good, exits, silent, wrong-counts, error, half.
"""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT, KEY, BEHAVIOUR = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def logprob(previous: int, token: int) -> float:
    return -((previous * 7 + token * 3) % 11 + 1) / 4


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:
        self._answer(200, b"ok") if self.path == "/health" else self._answer(
            200, b"bitfrontier_kv_cache_peak_bytes 77\n"
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers.get("authorization") != f"Bearer {KEY}":
            return self._answer(401, b"{}")
        if BEHAVIOUR == "error":
            return self._answer(500, b"the kernel is missing")
        if self.path == "/score":
            return self._json({"scores": [self._scores(item) for item in body["items"]]})
        if "prompt_logprobs" in body:
            prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
            choices = [{"index": i, "text": " x", "prompt_logprobs": self._prompt(p)} for i, p in enumerate(prompts)]
            return self._json({"choices": choices[::-1]})
        if "logprob_token_ids" in body:
            previous = body["prompt"][-1]
            labels = [] if BEHAVIOUR == "half" else body["logprob_token_ids"]
            top = {f"token_id:{token}": logprob(previous, token) for token in labels}
            best = next((name for name, value in top.items() if value > -0.5), "token_id:0")
            return self._json({"choices": [{"index": 0, "logprobs": {"tokens": [best], "top_logprobs": [top]}}]})
        if body.get("stream"):
            return self._stream(body)
        return self._json({"choices": [{"index": 0, "text": "the capital is"}]})

    def _scores(self, item: dict[str, Any]) -> list[dict[str, Any]]:
        found = []
        for tokens in item["continuations"]:
            line = [item["context"][-1], *tokens]
            values = [logprob(a, b) for a, b in zip(line, line[1:], strict=False)]
            found.append({"logprobs": values, "greedy": [value > -0.5 for value in values]})
        return found

    def _prompt(self, prompt: list[int]) -> list[Any]:
        if BEHAVIOUR == "half":
            return []
        pairs = zip(prompt, prompt[1:], strict=False)
        return [
            None,
            *({str(b): {"logprob": logprob(a, b), "rank": 1 if logprob(a, b) > -0.5 else 5}} for a, b in pairs),
        ]

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        count = body["max_tokens"] - (BEHAVIOUR == "wrong-counts")
        for number in range(1, count + 1):
            time.sleep(0.002)
            self._event({"choices": [{"text": "x"}], "usage": self._usage(body, number)})
        self._event({"choices": [], "usage": self._usage(body, count)})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _usage(self, body: dict[str, Any], count: int) -> dict[str, int]:
        return {"prompt_tokens": len(body["prompt"]), "completion_tokens": count}

    def _event(self, payload: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(payload).encode() + b"\n\n")
        self.wfile.flush()

    def _json(self, payload: dict[str, Any]) -> None:
        self._answer(200, json.dumps(payload).encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


print("fake-fact 42", flush=True)
if BEHAVIOUR == "exits":
    print("no such kernel on this machine")
    raise SystemExit(7)
if BEHAVIOUR == "silent":
    time.sleep(600)
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
