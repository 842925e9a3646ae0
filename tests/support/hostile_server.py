"""A server that answers so that a client without limits waits for ever, or keeps more than there is memory for."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat

DRIP_SECONDS = 0.05
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MEBIBYTE = b"x" * 2**20
CHUNK = b"100000\r\n" + MEBIBYTE + b"\r\n"
BOMB = gzip.compress(bytes(64 * 2**20))  # 64 KiB that become 64 MiB
DEEP = b"[" * 200_000


@dataclass(frozen=True)
class Attack:
    """What answers a request: `first`, then `again` and again until the client is gone, that often."""

    first: bytes
    again: bytes = b""
    wait_seconds: float = 0.0

    def parts(self) -> Iterable[bytes]:
        yield self.first
        yield from repeat(self.again) if self.again else ()


ENDLESS: dict[str, Attack] = {
    "dripped head": Attack(OK, b"X-Wait: 1\r\n", DRIP_SECONDS),
    "dripped body": Attack(CHUNKED, b"1\r\n \r\n", DRIP_SECONDS),
    "100 Continue, dripped": Attack(b"", b"HTTP/1.1 100 Continue\r\n\r\n", DRIP_SECONDS),
    "100 Continue, flooded": Attack(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
}
TOO_LONG: dict[str, Attack] = {
    "endless body": Attack(CHUNKED, CHUNK),
    "endless line": Attack(CHUNKED + b"6\r\ndata: \r\n", CHUNK),
    "endless head": Attack(OK + b"X-Long: ", MEBIBYTE),
    "gzip bomb": Attack(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB),
}
DEEP_JSON = Attack(OK + b"Content-Length: %d\r\n\r\n" % len(DEEP) + DEEP)


@contextlib.contextmanager
def hostile_server(attack: Attack) -> Iterator[tuple[str, list[int]]]:
    """Its address, and how many bytes it could send to each of its clients that are gone."""
    sent: list[int] = []
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        count = 0
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            connection.recv(65536)
            for part in attack.parts():
                connection.sendall(part)
                count += len(part)
                time.sleep(attack.wait_seconds)
                if ended.is_set():
                    break
            else:
                connection.recv(1)
        sent.append(count)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", sent
    finally:
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for thread in (accepting, *threads):
            thread.join()
