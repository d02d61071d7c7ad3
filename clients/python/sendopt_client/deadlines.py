"""HTTP connections with one deadline for everything: connecting, sending, and every byte of the answer.

Each of urllib3's timeouts limits a single wait, so a server that sends a byte from time to time never exceeds it.
Resolving a name is the only wait that cannot be limited here.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

LEAST_SECONDS = 0.001  # a timeout of 0 would mean "do not wait at all", and raise another error

_deadline: ContextVar[float] = ContextVar("deadline")


@contextmanager
def until(deadline: float) -> Iterator[None]:
    """Waits of connections inside the block end with TimeoutError at the deadline, a time of `monotonic`."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def _remaining() -> float:
    seconds = _deadline.get() - monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline has passed")
    return max(seconds, LEAST_SECONDS)


class _Limited(socket.socket):
    """A socket on which every wait ends at the deadline."""

    def recv_into(self, *where: Any, **how: Any) -> int:
        self.settimeout(_remaining())
        return super().recv_into(*where, **how)

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.settimeout(_remaining())
        super().sendall(data, flags)


class _LimitedTLS(_Limited, ssl.SSLSocket):
    """The same with TLS."""


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)


class _TLSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)


def _connected(connection: HTTPConnection) -> socket.socket:
    """A socket connected to the first address of the host that answers; all of them share the deadline."""
    error: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(
        connection.host, connection.port, type=socket.SOCK_STREAM
    ):
        found = _Limited(family, kind, protocol)
        try:
            found.settimeout(_remaining())
            for option in connection.socket_options or ():
                found.setsockopt(*option)
            found.connect(address)
        except OSError as refused:
            found.close()
            error = refused
        else:
            return found
    raise NewConnectionError(connection, f"cannot connect to {connection.host}:{connection.port}: {error}") from error


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


def pool_manager(*, headers: dict[str, str], is_tls: bool, connections: int) -> urllib3.PoolManager:
    """Connections that are kept open, never retried and limited by `until`.

    Args:
        connections: number of connections that are kept; more are opened if they are needed at the same time.
    """
    context = _tls() if is_tls else None
    manager = urllib3.PoolManager(headers=headers, retries=False, maxsize=connections, ssl_context=context)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
    return manager


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.sslsocket_class = _LimitedTLS
    return context
