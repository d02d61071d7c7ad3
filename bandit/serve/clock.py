"""The current time: from the system's clock, or the latest moment in the requests."""

from datetime import UTC, datetime
from typing import Protocol

from bandit.store import decisions, feedback
from bandit.store.sql.database import Store


class Clock(Protocol):
    """Tells the time; it may take it from the instants in requests."""

    accepts_now: bool  # whether a request may set the time

    def now(self) -> datetime:
        """The present, aware, UTC."""

    def observe(self, instant: datetime) -> None:
        """Takes an instant from a request into account."""


class SystemClock:
    """The machine's clock; requests cannot move it."""

    accepts_now = False

    def now(self) -> datetime:
        return datetime.now(UTC)

    def observe(self, instant: datetime) -> None:
        """Does nothing: the time of an event is not the current time."""


class RequestClock:
    """For simulation and replay: time is the latest `now` or `occurred_at` seen, here or in the store."""

    accepts_now = True
    _START = datetime(1970, 1, 1, tzinfo=UTC)

    def __init__(self, store: Store) -> None:
        self._store = store
        self._latest = self._START

    def now(self) -> datetime:
        with self._store.read() as connection:
            stored = (decisions.latest_decided_at(connection), feedback.latest_received_at(connection))
        return max([self._latest, *(instant for instant in stored if instant is not None)])

    def observe(self, instant: datetime) -> None:
        self._latest = max(self._latest, instant.astimezone(UTC))
