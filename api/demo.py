"""`sendopt demo`: the real service, with its learner, learns from simulated users while you watch.

Nothing is faked but the users: the database is migrated, the service is a process of its own, and every decision and
every feedback goes through its HTTP interface.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text
from sqlalchemy import URL

from api.client import ClientError, Document, SendoptClient
from api.demo_screen import COLUMNS, RECENT_DECISIONS, Standing, percent, plain_line, rewards_table, screen
from bandit.errors import Conflict, SendoptError
from bandit.service import build_service
from bandit.settings import PREFIX
from bandit.store.engine import Store
from bandit.store.migrate import pending, upgrade
from sim.drive import Progress, Tally, drive
from sim.world import World, build_world

CAMPAIGN = "demo"
# In the past, so that the database can then be served on the system's clock: no simulated reward is left open.
START = datetime(2025, 1, 6, tzinfo=UTC)
PER_DAY = 400.0
BATCH = 64  # under 4 simulated hours: the world leaves 6 for feedback on its way
READY_SECONDS = 20.0
STOP_SECONDS = 10.0
LOOK_SECONDS = 1.0  # between two looks at the published models
LINE_SECONDS = 3.0  # between two lines where there is no terminal
LOG_LINES = 15


class ServiceDied(SendoptError):
    """The service that the demo started ended, or never became ready; the message ends with its last log lines."""


def run_demo(*, database: Path, seed: int, seconds: float, console: Console, environment: Mapping[str, str]) -> int:
    """The exit status of one demo: 0, 1 when the service failed, 130 when it was interrupted.

    Args:
        database: an SQLite file; an earlier demo's is replaced.
        seconds: of deciding; starting and stopping take a few more.
        environment: that the service inherits, but for its settings.

    Raises:
        Conflict: the file is a database that holds more than an earlier demo.
    """
    url = URL.create("sqlite", database=str(database)).render_as_string()
    _make_database(database, url)
    try:
        with _interrupted_by_signals(), _service(url, environment) as service:
            outcome = _watch(service, seed, seconds, console)
    except ServiceDied as error:
        console.print(Text(str(error), style="red"))
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; the service has ended.")
        return 130
    _summarise(outcome, url, console)
    return 0


def _make_database(database: Path, url: str) -> None:
    """A migrated database without rows; refuses to replace one that holds more than an earlier demo."""
    with closing(Store(url)) as store:
        if database.exists():
            _check_is_a_demo(store)
    for ending in ("", "-wal", "-shm"):
        database.with_name(database.name + ending).unlink(missing_ok=True)
    with closing(Store(url)) as store:
        upgrade(store)


def _check_is_a_demo(store: Store) -> None:
    if pending(store):
        raise Conflict(f"{store.engine.url.database}: exists and is no demo's database; name another file")
    service = build_service(store, clock="request", entropy=os.urandom)
    others = [stored.campaign.id for stored in service.campaigns.list() if stored.campaign.id != CAMPAIGN]
    if others:
        raise Conflict(
            f"{store.engine.url.database}: holds the campaign {others[0]!r}, which no demo made; name another file"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Service:
    """The service's process, and how to reach it."""

    process: subprocess.Popen[bytes]
    log: IO[bytes]
    base_url: str

    def wait_until_ready(self, client: SendoptClient) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not client.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise self.died(f"it was not ready within {READY_SECONDS:.0f} s")
            time.sleep(0.1)

    def died(self, reason: str) -> ServiceDied:
        """What went wrong, with the end of the service's log."""
        status = self.process.poll()
        ended = reason if status is None else f"it ended with status {status}"
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").splitlines()[-LOG_LINES:]
        return ServiceDied("\n".join([f"The service failed: {ended}. Its last log lines:", *lines]))


@contextmanager
def _service(url: str, environment: Mapping[str, str]) -> Iterator[_Service]:
    """The service with its learner, in processes that end with the block."""
    port = _free_port()
    with TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api", "serve", "--port", str(port)],
            env=_service_environment(url, environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A group of its own: Ctrl-C is for the demo, which then ends the service in order, with all it started.
            start_new_session=True,
        )
        try:
            yield _Service(process=process, log=log, base_url=f"http://127.0.0.1:{port}")
        finally:
            _stop(process)


def _service_environment(url: str, environment: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in environment.items() if not name.startswith(PREFIX)}
    return {
        **inherited,
        "SENDOPT_DATABASE_URL": url,
        "SENDOPT_CLOCK": "request",
        "SENDOPT_WORKER_INTERVAL_SECONDS": "1",
        "SENDOPT_MODEL_POLL_SECONDS": "0.5",
    }


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the service in order; after 10 seconds, or a second Ctrl-C, with force. Nothing it started outlives it."""
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """A kill, or the terminal's end, stops the block as Ctrl-C does: the service is in a session that hears neither."""
    before = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _watch(service: _Service, seed: int, seconds: float, console: Console) -> "_Run":
    """The whole run, shown while it goes on."""
    world = build_world(seed=seed, campaign_id=CAMPAIGN)
    with SendoptClient(service.base_url, timeout_seconds=1.0) as client:
        with console.status("Starting the service and its learner"):
            service.wait_until_ready(client)
        run = _Run(world=world, client=client, seconds=seconds)
        try:
            client.put_campaign(world.document)
            _show(run, seed, console)
        except ClientError as error:
            raise service.died(str(error)) from error
    return run


def _show(run: "_Run", seed: int, console: Console) -> None:
    if console.is_terminal:
        with Live(screen(run.standing()), console=console, refresh_per_second=8) as live:
            for _ in run.steps(seed):
                live.update(screen(run.standing()))
        return
    next_line = LINE_SECONDS
    for elapsed in run.steps(seed):
        if elapsed >= next_line:
            next_line += LINE_SECONDS
            console.print(plain_line(run.standing()), soft_wrap=True)


@dataclass(slots=True, kw_only=True)
class _Run:
    """A run of simulated users against the service, as far as it has come."""

    world: World
    client: SendoptClient
    seconds: float
    started: float = field(default_factory=time.monotonic)
    elapsed: float = 0.0
    looked: float = 0.0
    now: datetime = START
    model_version: int = 0
    models_published: int = 0
    events_learned: int = 0
    totals: deque[Tally] = field(default_factory=lambda: deque([Tally()]))  # reaching back over the recent decisions
    beginning: Tally = Tally()  # the first 2,000 decisions
    columns: list[Tally] = field(default_factory=lambda: [Tally()])
    sends: deque[Document] = field(default_factory=lambda: deque(maxlen=200))  # decisions that send, oldest first

    def steps(self, seed: int) -> Iterator[float]:
        """Seconds since the start after each batch, until the time is up."""
        luck = np.random.default_rng([seed, 2])
        arrivals = self.world.arrivals(start=START, per_day=PER_DAY, rng=np.random.default_rng([seed, 1]))
        self.started = time.monotonic()
        in_time = takewhile(lambda _: time.monotonic() - self.started < self.seconds, arrivals)
        for progress in drive(self.world, self.client, in_time, batch_size=BATCH, rng=luck):
            self._note(progress)
            self._look_at_models()
            yield self.elapsed

    def _note(self, progress: Progress) -> None:
        self.elapsed = time.monotonic() - self.started
        self.now = progress.now
        self.model_version = progress.model_version
        column = min(COLUMNS - 1, int(COLUMNS * self.elapsed / self.seconds))
        self.columns.extend(Tally() for _ in range(column + 1 - len(self.columns)))
        self.columns[column] += progress.total - self.totals[-1]
        self.totals.append(progress.total)
        while progress.total.decisions - self.totals[1].decisions >= RECENT_DECISIONS:
            self.totals.popleft()
        if progress.total.decisions <= RECENT_DECISIONS:
            self.beginning = progress.total
        if progress.decision["send"]:
            self.sends.append(progress.decision)

    def _look_at_models(self) -> None:
        if self.elapsed < self.looked + LOOK_SECONDS:
            return
        self.looked = self.elapsed
        published = self.client.models(CAMPAIGN)
        if published:
            self.models_published = len(published)
            self.events_learned = published[0]["events_learned"]

    def standing(self) -> Standing:
        """What is to be shown now."""
        return Standing(
            users=len(self.world),
            seconds=self.elapsed,
            simulated_days=(self.now - START) / timedelta(days=1),
            model_version=self.model_version,
            events_learned=self.events_learned,
            total=self.totals[-1],
            recent=self.totals[-1] - self.totals[0],
            columns=tuple(self.columns),
        )
