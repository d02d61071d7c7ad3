"""Databases for the benchmarks: migrated, with the campaign, and with a history of the size that a figure needs.

A history consists of rows that the service itself stored: 600 decisions are made and closed by the real code, and then
copied, table by table, with other ids, users and times. Only texts inside their JSON are not changed.
"""

import os
import random
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from rich.progress import track

from api.edge.payloads import parse_decide
from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord
from bandit.domain import Feedback
from bandit.ids import new_decision_id
from bandit.serve.decisions import Ask
from bandit.service import Service, build_service
from bandit.store.sql.database import Store
from bandit.store.sql.migrate import upgrade
from bandit.store.sql.schema import EPOCH, MICROSECOND
from benchmarks import scenario
from benchmarks.measure import Run

CHUNK = 5_000
OPEN_FOR = timedelta(hours=48)  # the campaign's reward window
OPENED_SHARE = 0.2
_TABLES = ("decisions", "sends", "open_decisions", "feedback", "closings", "final_rewards")
_TIMES = frozenset(
    ("decided_at", "reward_deadline", "send_at", "due_at", "occurred_at", "received_at", "closed_at", "final_at")
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Decisions that are evenly spread over a period; each user gets one before any user gets another."""

    users: range  # numbers of the scenario's users
    decisions: int
    since: datetime
    until: datetime

    def user(self, place: int) -> int:
        """Number of the user of a decision."""
        return self.users[place * self._stride % len(self.users)]

    def decided_at(self, place: int) -> datetime:
        return self.since + (self.until - self.since) * (place / self.decisions)

    @property
    def _stride(self) -> int:
        # Coprime to the number of users, so that neighbours in time are not neighbours in the index by user.
        return 1 if len(self.users) % 7_919 == 0 else 7_919


def make_database(path: Path, campaigns: Iterable[Campaign], past: Past | None, run: Run) -> None:
    """A database at the newest schema, written through to the disk."""
    with closing(Store(f"sqlite:///{path}")) as store:
        upgrade(store)
        service = build_service(store, clock="system", entropy=os.urandom)
        for campaign in campaigns:
            service.campaigns.put(campaign)
    if past is not None:
        patterns = _patterns(path.with_suffix(".patterns"))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            _fill(connection, patterns, past, run)
    _write_through(path)


def _write_through(path: Path) -> None:
    """Writes everything to disk; otherwise the system would write gigabytes while the figure is measured."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pattern:
    """One stored decision with its rows in every table."""

    decided_at: int  # microseconds since 1970, as stored
    open: dict[str, list[Row]]  # by table, before its reward was closed
    closed: dict[str, list[Row]]  # and after


def _patterns(path: Path) -> Sequence[_Pattern]:
    with closing(Store(f"sqlite:///{path}")) as store:
        upgrade(store)
        service = build_service(store, clock="request", entropy=random.Random(1).randbytes)
        service.campaigns.put(scenario.campaign())
        _decide_and_open(service)
        before = _rows(path)
        service.clock.observe(scenario.START + OPEN_FOR + timedelta(hours=1))
        service.learner.close_due()
    after = _rows(path)
    return [
        _Pattern(decided_at=rows["decisions"][0]["decided_at"], open=rows, closed=after[decision_id])
        for decision_id, rows in before.items()
    ]


def _decide_and_open(service: Service) -> None:
    luck = random.Random(2)
    asks = [Ask(request=parse_decide(body)) for body in _bodies_at(scenario.START)]
    records = [one for one in service.decider.decide_many(asks) if isinstance(one, DecisionRecord)]
    occurred_at = scenario.START + timedelta(minutes=30)
    service.feedback.accept_many(
        [
            Feedback(decision_id=record.decision.id, event="opened", occurred_at=occurred_at)
            for record in records
            if luck.random() < OPENED_SHARE
        ]
    )


def _bodies_at(now: datetime) -> Iterator[bytes]:
    for number in range(scenario.POPULATION):
        yield orjson.dumps({**scenario.decide_document(number), "now": now})


def _rows(path: Path) -> dict[str, dict[str, list[Row]]]:
    """Every stored row as it is stored: by decision, by table."""
    found: dict[str, dict[str, list[Row]]] = {}
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        for table in _TABLES:
            for row in connection.execute(f"SELECT * FROM {table}"):
                values = {name: row[name] for name in row.keys() if name != "seq"}  # noqa: SIM118 - no mapping
                decision_id = values["id" if table == "decisions" else "decision_id"]
                found.setdefault(decision_id, {name: [] for name in _TABLES})[table].append(values)
    return found


def _fill(connection: sqlite3.Connection, patterns: Sequence[_Pattern], past: Past, run: Run) -> None:
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -500000")
    luck = random.Random(3)
    starts = range(0, past.decisions, CHUNK)
    for start in track(starts, f"storing {past.decisions:,} decisions", console=run.console, transient=True):
        rows: dict[str, list[Row]] = {table: [] for table in _TABLES}
        for place in range(start, min(start + CHUNK, past.decisions)):
            decided_at = past.decided_at(place)
            decision_id = new_decision_id(decided_at, luck.randbytes)
            _copy(patterns, past.user(place), decided_at, decision_id, decided_at < run.now - OPEN_FOR, rows)
        connection.execute("BEGIN")
        for table, members in rows.items():
            _insert(connection, table, members)
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy(
    patterns: Sequence[_Pattern],
    user: int,
    decided_at: datetime,
    decision_id: str,
    is_closed: bool,
    rows: dict[str, list[Row]],
) -> None:
    """Adds the rows of one decision of the past."""
    pattern = patterns[user % len(patterns)]
    shift = (decided_at - EPOCH) // MICROSECOND - pattern.decided_at
    own: Row = {"id": decision_id, "decision_id": decision_id, "user_id": f"user-{user}"}
    for table, members in (pattern.closed if is_closed else pattern.open).items():
        for member in members:
            copy: Row = {name: own.get(name, value) for name, value in member.items()}
            for name in _TIMES & copy.keys():
                copy[name] = None if copy[name] is None else copy[name] + shift
            rows[table].append(copy)


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    if rows:
        names = list(rows[0])
        values = ", ".join(f":{name}" for name in names)
        connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})", rows)
