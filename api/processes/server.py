"""`sendopt serve`: the HTTP server and the learner process."""

import ipaddress
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from threading import Event, Thread
from types import FrameType

import structlog
from granian.constants import Interfaces

from api.edge.auth import MAKE_A_KEY
from api.edge.metrics import FOLDER_VARIABLE
from api.edge.repeat import attempt
from api.logging_setup import library_logs
from api.processes.beside import name_parent
from api.processes.keeping import KeepingServer
from bandit.errors import SettingsError

BLOCKING_THREADS = 16  # requests that can wait for one commit together
BACKPRESSURE = 64
LEARNER_POLL_SECONDS = 0.2
LEARNER_PAUSE_SECONDS = 2  # pause before a learner that died is started again
STOP_SECONDS = 4  # time to stop; a serving process that is still starting does not react to its first SIGTERM

log = structlog.get_logger(__name__)


def check_address(host: str, port: int, *, has_keys: bool) -> None:
    """Raises SettingsError unless the port is free at the address; without keys it must be a loopback address."""
    if not (_address(host).is_loopback or has_keys):
        raise SettingsError(
            f"--host {host}: is not a loopback address, and without keys the service answers only on loopback "
            f"(127.0.0.1, ::1 or localhost); {MAKE_A_KEY}"
        )
    try:
        # The server would share a port with another listener, and each would get a part of the requests.
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise SettingsError(f"--port {port}: cannot listen on it: {error.strerror}") from None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(_numbers(host))
    except ValueError:
        raise SettingsError(f"--host {host}: is neither an IP address nor localhost") from None


def _numbers(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host


def serve(*, host: str, port: int, workers: int, with_learner: bool) -> None:
    """Serves until SIGTERM or SIGINT, on an address that `check_address` accepted."""
    # Not forked: a copy of a process with threads can wait forever for a lock that one of them held.
    multiprocessing.set_start_method("spawn", force=True)
    server = KeepingServer(
        "api.app:app_from_environment",
        factory=True,
        address=_numbers(host),
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=BLOCKING_THREADS,
        backpressure=BACKPRESSURE,
        workers_kill_timeout=STOP_SECONDS,
        log_dictconfig=library_logs(logging.INFO),
        websockets=False,
        process_name=None,
    )
    logging.getLogger("_granian").addFilter(_is_no_advice_on_threads)
    name_parent()
    with _learner(with_learner), _counting_together(workers):
        server.serve()


@contextmanager
def _counting_together(workers: int) -> Iterator[None]:
    """Gives several serving processes a folder through which they share their counts."""
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # by which prometheus-client would map files into memory
    if workers == 1:
        yield
        return
    with TemporaryDirectory(prefix="sendopt-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ[FOLDER_VARIABLE] = folder  # child processes inherit it
        yield


def _is_no_advice_on_threads(record: logging.LogRecord) -> bool:
    # The threads wait for a commit that they share, not for a core, so there are more threads than cores on purpose.
    return "Python threads" not in record.getMessage()


@contextmanager
def _learner(wanted: bool) -> Iterator[None]:
    """A learner process that lives as long as the block; one that dies is started again."""
    if not wanted:
        yield
        return
    signal.signal(signal.SIGTERM, _leave)
    leaving = Event()
    # Started here, not in the thread: a process that starts while the server starts its own can wait forever.
    keeper = Thread(target=_keep_learner, args=[_started_learner(), leaving], name="learner-keeper")
    keeper.start()
    try:
        yield
    finally:
        leaving.set()
        keeper.join()


def _started_learner() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "api", "worker"])


def _keep_learner(process: subprocess.Popen[bytes], leaving: Event) -> None:
    def keep() -> None:
        nonlocal process
        if process.poll() is not None:
            log.error("learner_died", status=process.returncode)
            leaving.wait(LEARNER_PAUSE_SECONDS)
            process = _started_learner()

    while not leaving.wait(LEARNER_POLL_SECONDS):
        attempt("learner-keeper", keep)  # a host without memory for a process may have some soon
    _stop(process)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """Ends on a SIGTERM before the server has set its own handler, so that the learner is stopped as well."""
    raise SystemExit(128 + signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # safe at any moment: a pass commits its work completely or not at all
        process.wait()
