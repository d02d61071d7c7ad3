"""`sendopt serve`: the HTTP server, and the learner process beside it."""

import ipaddress
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from granian import Granian
from granian.constants import Interfaces

from bandit.errors import SettingsError

BLOCKING_THREADS = 16  # requests that wait for one commit together
BACKPRESSURE = 64


def check_address(host: str) -> None:
    """Raises SettingsError unless the address is a loopback address."""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise SettingsError(
            f"--host {host}: is not a loopback address, and without keys the service answers only on one "
            "(127.0.0.1, ::1 or localhost); put a reverse proxy that authenticates in front of it"
        )


def serve(*, host: str, port: int, workers: int, with_learner: bool) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        SettingsError: the address is not a loopback address.
    """
    check_address(host)
    server = Granian(
        "api.app:app_from_environment",
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=BLOCKING_THREADS,
        backpressure=BACKPRESSURE,
        respawn_failed_workers=True,
        log_dictconfig=None,
        websockets=False,
        process_name=None,
    )
    with _learner(with_learner):
        server.serve()


@contextmanager
def _learner(wanted: bool) -> Iterator[None]:
    """A learner process that lives as long as the block."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-m", "api", "worker"])
    try:
        yield
    finally:
        process.terminate()
        process.wait()
