"""`sendopt demo`: the real service, with its learner, learns from simulated users while you watch.

Only the users are simulated: the database is migrated, the service is a process of its own, and all decisions and
feedback go through its HTTP interface.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text
from sqlalchemy import URL, inspect

from api.client import ClientError, Document, SendoptClient
from api.demo.screen import COLUMNS, RECENT_DECISIONS, Standing, Story, plain_line, screen, summary
from api.demo.service import RunningService, ServiceDied, interrupted_by_signals, running_service
from bandit.errors import Conflict
from bandit.store import campaigns
from bandit.store.sql.database import Store
from bandit.store.sql.migrate import upgrade
from sim.contest.drive import Progress, Refused, Tally, drive
from sim.world.world import START, World, build_world

CAMPAIGN = "demo"
# Small, but with enough users in holdouts for the dashboard to show what learning and sending are worth.
HOLDOUTS = {"uniform_holdout": 0.05, "no_send_holdout": 0.05}
PER_DAY = 400.0
BATCH = 64
LOOK_SECONDS = 1.0  # between two requests for the published models
LINE_SECONDS = 3.0  # between two lines if there is no terminal


def run_demo(*, database: Path, seed: int, seconds: float, console: Console, environment: Mapping[str, str]) -> int:
    """The exit status of one demo: 0; 1 if the service failed; 130 if it was interrupted.

    Args:
        database: SQLite file; the file of an earlier demo is replaced.
        seconds: duration of the decisions; starting and stopping take a few more.
        environment: inherited by the service, except its settings.

    Raises:
        Conflict: the file is a database that contains more than an earlier demo.
    """
    url = URL.create("sqlite", database=str(database)).render_as_string()
    _make_database(database, url)
    try:
        with interrupted_by_signals(), running_service(url, environment) as service:
            run = _watch(service, seed, seconds, console)
    except ServiceDied as error:
        console.print(Text(str(error), style="red"), soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; the service has ended.")
        return 130
    console.print(summary(run.standing(), run.story(), database_url=url), soft_wrap=True)  # commands stay whole
    return 0


def _make_database(database: Path, url: str) -> None:
    """Creates a migrated database without rows; refuses to replace one that contains more than an earlier demo."""
    with closing(Store(url)) as store:
        if database.exists():
            _check_is_a_demo(store, database)
    for ending in ("", "-wal", "-shm"):
        database.with_name(database.name + ending).unlink(missing_ok=True)
    with closing(Store(url)) as store:
        upgrade(store)


def _check_is_a_demo(store: Store, database: Path) -> None:
    with store.read() as connection:
        tables = inspect(connection).get_table_names()
        if tables and "campaigns" not in tables:
            raise Conflict(f"{database}: exists and was not made by this program; name another file")
        found = [head.id for head in campaigns.heads(connection)] if tables else []
    others = [campaign_id for campaign_id in found if campaign_id != CAMPAIGN]
    if others:
        raise Conflict(f"{database}: holds the campaign {others[0]!r}, which no demo made; name another file")


def _watch(service: RunningService, seed: int, seconds: float, console: Console) -> "_Run":
    """The whole run, shown while it goes on."""
    world = build_world(seed=seed, campaign_id=CAMPAIGN)
    with SendoptClient(service.base_url, timeout_seconds=1.0) as client:
        with console.status("Starting the service and its learner"):
            service.wait_until_ready(client)
        run = _Run(world=world, service=service, client=client, seconds=seconds)
        try:
            client.put_campaign({**world.document, "policy": HOLDOUTS})
            console.print(f"Its dashboard, while it learns: {service.base_url}/#campaign={CAMPAIGN}", soft_wrap=True)
            _show(run, seed, console)
        except (ClientError, Refused) as error:
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
    """The current state of a run of simulated users against the service."""

    world: World
    service: RunningService
    client: SendoptClient
    seconds: float
    started: float = field(default_factory=time.monotonic)
    elapsed: float = 0.0
    looked: float = 0.0
    now: datetime = START
    model_version: int = 0
    models_published: int = 0
    events_learned: int = 0
    decisions: int = 0
    totals: deque[Tally] = field(default_factory=lambda: deque([Tally()]))  # of the recent decisions
    beginning: Tally = field(default_factory=Tally)  # the first 2,000 decisions
    columns: list[Tally] = field(default_factory=lambda: [Tally()])
    sends: deque[Document] = field(default_factory=lambda: deque(maxlen=50))  # of the last 50 batches, oldest first

    def steps(self, seed: int) -> Iterator[float]:
        """Seconds since the start after each batch, until the time is up."""
        luck = np.random.default_rng([seed, 2])
        arrivals = self.world.arrivals(start=START, per_day=PER_DAY, rng=np.random.default_rng([seed, 1]))
        self.started = time.monotonic()
        in_time = takewhile(lambda _: time.monotonic() - self.started < self.seconds, arrivals)
        for progress in drive(self.world, self.client, in_time, batch_size=BATCH, rng=luck):
            self.service.check_alive()
            self._note(progress)
            self._look_at_models()
            yield self.elapsed

    def _note(self, progress: Progress) -> None:
        self.elapsed = time.monotonic() - self.started
        self.now = progress.now
        self.model_version = progress.model_version
        column = min(COLUMNS - 1, int(COLUMNS * self.elapsed / self.seconds))
        self.columns.extend(Tally() for _ in range(column + 1 - len(self.columns)))
        self.decisions = progress.total.decisions
        total = (
            progress.total - progress.held_out
        )  # a holdout does not use what was learned, and would hide the gain of the others
        self.columns[column] += total - self.totals[-1]
        self.totals.append(total)
        while total.decisions - self.totals[1].decisions >= RECENT_DECISIONS:
            self.totals.popleft()
        if self.beginning.decisions < RECENT_DECISIONS:
            self.beginning = total
        if progress.decision["send"]:
            self.sends.append(progress.decision)

    def _look_at_models(self) -> None:
        if self.elapsed < self.looked + LOOK_SECONDS:
            return
        self.looked = self.elapsed
        published = self.client.models(CAMPAIGN)
        if published:
            self.models_published = published[0][
                "version"
            ]  # old versions are removed, but their numbers are not used again
            self.events_learned = published[0]["events_learned"]

    def story(self) -> Story:
        """What the summary says in addition to the last state."""
        return Story(
            beginning=self.beginning,
            models_published=self.models_published,
            decision_id=self.sends[0]["decision_id"] if self.sends else None,
        )

    def standing(self) -> Standing:
        """The state to be shown now."""
        return Standing(
            users=len(self.world),
            seconds=self.elapsed,
            simulated_days=(self.now - START) / timedelta(days=1),
            model_version=self.model_version,
            events_learned=self.events_learned,
            decisions=self.decisions,
            total=self.totals[-1],
            recent=self.totals[-1] - self.totals[0],
            columns=tuple(self.columns),
        )
