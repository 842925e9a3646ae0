"""A small server of the hub's protocol on the loopback address: repositories of models and data sets, and what goes
wrong with them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

API = re.compile(r"^/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)(?:/(?P<action>.+))?$")
FILE = re.compile(r"^/(?:(?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)$")
TOKEN = "hf_of_the_tests"

Files = Mapping[str, bytes]


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked for.

    `repositories`: files by revision, by name (`datasets/organisation/name` for a data set). `gated` and `private` need
    the TOKEN. `answers`: a status with its headers in place of any answer about a repository. `cut`: how many bytes of a
    file are sent before the connection ends. `wait_seconds` goes before each answer.
    """

    repositories: dict[str, dict[str, Files]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    answers: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    wait_seconds: float = 0.0
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, range

    def add(self, name: str, files: Files, revision: str = "main") -> None:
        self.repositories.setdefault(name, {})[revision] = dict(files)

    def add_folder(self, name: str, folder: Path, revision: str = "main") -> None:
        places = [place for place in folder.rglob("*") if place.is_file()]
        self.add(name, {place.relative_to(folder).as_posix(): place.read_bytes() for place in places}, revision)

    def bytes_of(self, path: str) -> list[str]:
        """The ranges that were asked for of a file, "" for all of it."""
        return [wanted for method, asked, wanted in self.requests if method == "GET" and asked.endswith(f"/{path}")]


def commit_of(files: Files) -> str:
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes = b"") -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range") or ""))
        time.sleep(self.hub.wait_seconds)
        api, file = API.match(path), FILE.match(path)
        asked = api or file
        if asked is None:
            return self._send(404, b"")
        name = asked["name"] if asked["kind"] in (None, "models") else f"datasets/{asked['name']}"
        action, _, revision = ((api["action"] or "") if api else "").partition("/")
        revision = file["revision"] if file else revision.partition("/")[0] or "main"
        if name in self.hub.answers:
            status, headers = self.hub.answers[name]
            return self._send(status, b"", headers)
        if name not in self.hub.repositories or (name in self.hub.private and not self._signed):
            return self._send(404 if self._signed else 401, b"", {"X-Error-Code": "RepoNotFound"})
        files = self._files(name, revision)
        if files is None:
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if file:
            return self._file(name, files, file["path"])
        if action == "tree":
            return self._json([_entry(path, content) for path, content in files.items()])
        if action == "paths-info":
            wanted = json.loads(body)["paths"]
            return self._json([_entry(path, files[path]) for path in wanted if path in files])
        return self._json(self._information(name, files))

    @property
    def _signed(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _files(self, name: str, revision: str) -> Files | None:
        revisions = self.hub.repositories[name]
        return revisions.get(revision) or next((f for f in revisions.values() if commit_of(f) == revision), None)

    def _information(self, name: str, files: Files) -> dict[str, Any]:
        siblings = [{"rfilename": path, "size": len(content)} for path, content in files.items()]
        short = name.removeprefix("datasets/")
        return {"id": short, "sha": commit_of(files), "siblings": siblings, "private": False, "tags": []}

    def _file(self, name: str, files: Files, path: str) -> None:
        if name in self.hub.gated:
            signed = bool(self.headers.get("Authorization"))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._send(403 if signed else 401, b"", {"X-Error-Code": "GatedRepo"})
        if path not in files:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        content, wanted = files[path], re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        headers = {"X-Repo-Commit": commit_of(files), "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        headers["Accept-Ranges"] = "bytes"
        if wanted is None:
            return self._send(200, content, headers, cut=path)
        first, last = int(wanted[1]), min(int(wanted[2] or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return self._send(206, content[first : last + 1], headers, cut=path)

    def _json(self, document: object) -> None:
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None, cut: str = "") -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        part = self.hub.cut.get(cut, len(body)) if len(body) > self.hub.cut.get(cut, len(body)) else len(body)
        with contextlib.suppress(OSError):
            self.wfile.write(body[:part])
        if part < len(body):
            self.close_connection = True


def _entry(path: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "oid": hashlib.sha1(content).hexdigest(), "size": len(content), "path": path}


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """The hub's address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def use(patch: pytest.MonkeyPatch, address: str, cache: Path, *, offline: bool = False) -> None:
    """As if this process had been started with these variables, which the hub's client reads as it is imported."""
    import datasets.config
    import huggingface_hub.constants as constants

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_TOKEN"):
        patch.delenv(name, raising=False)
    if offline:
        patch.setenv("HF_HUB_OFFLINE", "1")
    patch.setenv("HF_ENDPOINT", address)
    patch.setenv("HF_TOKEN_PATH", str(cache / "token"))
    patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
    patch.setattr(constants, "ENDPOINT", address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    patch.setattr(constants, "HF_HUB_OFFLINE", offline)
    patch.setattr(datasets.config, "HF_ENDPOINT", address)
    patch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
    patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
