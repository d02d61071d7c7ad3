"""The real service with its learner, in processes of its own that end when the demo does."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO

from api.client import SendoptClient
from bandit.errors import SendoptError
from bandit.settings import PREFIX

READY_SECONDS = 20.0
STOP_SECONDS = 10.0
LOG_LINES = 15


class ServiceDied(SendoptError):
    """The service ended, did not become ready, or no longer answers; the message ends with its last log lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """The process of the service, and its address."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]
    base_url: str

    def wait_until_ready(self, client: SendoptClient) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not client.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise self.died(f"it was not ready within {READY_SECONDS:.0f} s")
            time.sleep(0.1)

    def check_alive(self) -> None:
        """Raises ServiceDied if the process has ended, even if another process answers at its address."""
        if self.process.poll() is not None:
            raise self.died("it ended")

    def died(self, reason: str) -> ServiceDied:
        """What went wrong, with the end of the service's log."""
        status = self.process.poll()
        ended = reason if status is None else f"it ended with status {status}"
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").splitlines()[-LOG_LINES:]
        return ServiceDied("\n".join([f"The service failed: {ended}. Its last log lines:", *lines]))


@contextmanager
def running_service(url: str, environment: Mapping[str, str], *, clock: str = "request") -> Iterator[RunningService]:
    """The service with its learner, in processes that end with the block."""
    with held_port() as port, TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 - our own program; the port is a number
            [sys.executable, "-m", "api", "serve", "--port", str(port)],
            env=_service_environment(url, environment, clock),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A process group of its own: Ctrl-C reaches only the demo, which then stops the service and its child
            # processes.
            start_new_session=True,
        )
        try:
            yield RunningService(process=process, log=log, base_url=f"http://127.0.0.1:{port}")
        finally:
            _stop(process)


def _service_environment(url: str, environment: Mapping[str, str], clock: str) -> dict[str, str]:
    inherited = {name: value for name, value in environment.items() if not name.startswith(PREFIX)}
    return {
        **inherited,
        "SENDOPT_DATABASE_URL": url,
        "SENDOPT_CLOCK": clock,
        "SENDOPT_WORKER_INTERVAL_SECONDS": "1",
        "SENDOPT_MODEL_POLL_SECONDS": "0.5",
    }


@contextmanager
def held_port() -> Iterator[int]:
    """A port of 127.0.0.1 for one server, which the system gives to nobody else before the block ends.

    A socket stays bound to it without listening. It allows a server that names the port to bind to it as well, but the
    system no longer hands it out as a free one. Without a server, connections are refused.
    """
    with socket.socket() as holder:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # servers set the one or the other
            holder.setsockopt(socket.SOL_SOCKET, option, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stops the service; after 10 seconds, or a second Ctrl-C, by force. Its child processes end with it."""
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP stop the block as Ctrl-C does; the service is in a session that receives neither of them."""
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    for one, handler in before.items():
        if handler is signal.SIG_DFL:  # nohup ignores it
            signal.signal(one, signal.default_int_handler)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
