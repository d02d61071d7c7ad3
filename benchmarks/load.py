"""Load generators: a lean client, which costs little, and a client like that of most callers.

The same client drives both sides of a ratio, and its cost is added to both: the leaner the client, the lower the ratio
between a service that works and one that does nothing.
"""

import selectors
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Lock
from time import perf_counter

import urllib3

TIMEOUT_SECONDS = 60.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "


class BadAnswer(Exception):
    """The service answered with something other than 200, or closed the connection."""


def http_request(path: str, body: bytes) -> bytes:
    """The bytes of a POST request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + _HEAD_END + body


class Connection:
    """One connection, with at most one request on its way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()

    def send(self, request: bytes) -> None:
        self._received = b""
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """The body of the answer when all of it has come; None before. Raises BadAnswer."""
        part = self.socket.recv(262_144)
        if not part:
            raise BadAnswer(f"the connection was closed after {self._received[:500]!r}")
        self._received += part
        head, _, body = self._received.partition(_HEAD_END)
        lowered = head.lower()
        place = lowered.find(_LENGTH)
        if place < 0 or len(body) < int(lowered[place + len(_LENGTH) :].split(b"\r\n", 1)[0]):
            return None
        if not head.startswith(b"HTTP/1.1 200 "):
            raise BadAnswer(self._received[:500].decode(errors="replace"))
        return body

    def ask(self, request: bytes) -> bytes:
        """The body of the answer to one request."""
        self.send(request)
        while (body := self.receive()) is None:
            pass
        return body


def latency_seconds(connection: Connection, request: bytes) -> float:
    """From sending a request to its whole answer."""
    start = perf_counter()
    connection.ask(request)
    return perf_counter() - start


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What came back in one window."""

    answers: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds


def lean_throughput(port: int, requests: Iterator[bytes], *, connections: int, seconds: float) -> Throughput:
    """Answers in a window during which every connection always has one request on its way."""
    with ExitStack() as stack:
        opened = [stack.enter_context(Connection(port)) for _ in range(connections)]
        selector = stack.enter_context(selectors.DefaultSelector())
        for connection in opened:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send(next(requests))
        window = _count(selector, requests, seconds)
        _drain(selector, connections)
    return window


def _count(selector: selectors.BaseSelector, requests: Iterator[bytes], seconds: float) -> Throughput:
    answers, start = 0, perf_counter()
    now = start
    while now - start < seconds:
        for key, _ in selector.select(TIMEOUT_SECONDS):
            connection: Connection = key.data
            if connection.receive() is not None:
                answers += 1
                connection.send(next(requests))
        now = perf_counter()
    return Throughput(answers=answers, seconds=now - start)


def _drain(selector: selectors.BaseSelector, waiting: int) -> None:
    """Takes the answers that are still due, so that the next window starts with an idle server."""
    while waiting:
        for key, _ in selector.select(TIMEOUT_SECONDS):
            connection: Connection = key.data
            waiting -= connection.receive() is not None


def ordinary_throughput(port: int, path: str, bodies: Iterator[bytes], *, callers: int, seconds: float) -> Throughput:
    """The same, measured by threads of one process with urllib3, as in the project's own client."""
    pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=callers, timeout=TIMEOUT_SECONDS, retries=False)
    turn = Lock()
    end = perf_counter() + seconds

    def call(_caller: int) -> int:
        answers = 0
        while perf_counter() < end:
            with turn:
                body = next(bodies)
            response = pool.request("POST", path, body=body, headers={"Content-Type": "application/json"})
            if response.status != 200:
                raise BadAnswer(response.data[:500].decode(errors="replace"))
            answers += 1
        return answers

    with pool, ThreadPoolExecutor(callers) as threads:
        return Throughput(answers=sum(threads.map(call, range(callers))), seconds=seconds)
