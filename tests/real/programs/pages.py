"""Answers in JSON and streams in chunks, for the emulators beside this file. Standard library only."""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler
from typing import Any


class Pages(BaseHTTPRequestHandler):
    """`key` is what a request must bring, if any."""

    protocol_version = "HTTP/1.1"
    key = os.environ.get("API_KEY", "")

    def log_message(self, *_: Any) -> None: ...

    def body(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        return document

    def allowed(self) -> bool:
        return not self.key or self.headers.get("authorization") == f"Bearer {self.key}"

    def say(self, status: int, value: Any = None) -> None:
        content = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def open_stream(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def write_chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def close_stream(self) -> None:
        self.wfile.write(b"0\r\n\r\n")
