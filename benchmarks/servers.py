"""Servers that are measured, each a process of its own that ends with the block, or with this process."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Literal

from api.demo.service import held_port
from api.processes.beside import name_parent
from bandit.settings import PREFIX

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
MEGABYTE = 2**20


class ServerDied(Exception):
    """A server did not start; the message ends with its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that listens."""

    pid: int
    port: int

    def resident_megabytes(self) -> float:
        """Of the process that serves: the largest child of the one that was started."""
        return max(_resident_bytes(child) for child in _children(self.pid)) / MEGABYTE


@contextmanager
def service(
    database: Path, clock: Literal["system", "request"] = "system", model_poll_seconds: float = 2.0
) -> Iterator[Server]:
    """The service on a migrated SQLite file, without a learner."""
    settings = {
        "SENDOPT_DATABASE_URL": f"sqlite:///{database}",
        "SENDOPT_CLOCK": clock,
        "SENDOPT_MODEL_POLL_SECONDS": str(model_poll_seconds),
    }
    with _serving("service", settings) as server:
        yield server


@contextmanager
def do_nothing() -> Iterator[Server]:
    """A do-nothing endpoint under the same server."""
    with _serving("nothing", {}) as server:
        yield server


@contextmanager
def _serving(what: Literal["service", "nothing"], settings: dict[str, str]) -> Iterator[Server]:
    name_parent()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    with held_port() as port, TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serve", what, str(port)],
            env={**inherited, **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_ready(process, port, log)
            yield Server(pid=process.pid, port=port)
        finally:
            _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _listens(port):
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            raise ServerDied(log.read().decode(errors="replace"))
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _children(pid: int) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            # After the name, which may contain anything, in brackets: state, parent.
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid:
                yield int(folder.name)


def _resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
