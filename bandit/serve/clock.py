"""What time it is: the system's clock, or the latest moment that the store has seen."""

from datetime import UTC, datetime
from typing import Protocol

from bandit.store import decisions, feedback
from bandit.store.sql.database import Store


class Clock(Protocol):
    """Tells the time, and may learn it from the instants that requests carry."""

    accepts_now: bool  # whether a request may say what time it is

    def now(self) -> datetime:
        """The present, aware, UTC."""

    def observe(self, instant: datetime) -> None:
        """Takes notice of an instant that a request carried."""


class SystemClock:
    """The machine's clock; requests cannot move it."""

    accepts_now = False

    def now(self) -> datetime:
        return datetime.now(UTC)

    def observe(self, instant: datetime) -> None:
        """Nothing: an event's time says nothing of the present."""


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
