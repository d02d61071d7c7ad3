"""The rows of a log that were decided in a span of time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from bandit.errors import EmptyLog, InvalidLog
from sim.logs.event import EventLog, LeftOut, LoggedEvent


class Between:
    """Another log, cut to the decisions from one moment on and before another."""

    def __init__(self, log: EventLog, *, since: datetime | None, until: datetime | None) -> None:
        """A reading of the log.

        Args:
            since: aware; None: from its start.
            until: aware, not in the span any more; None: to its end.
        """
        self.name = log.name
        self.reward_bounds = log.reward_bounds
        self._log = log
        self._since = since
        self._until = until
        self._outside = 0

    @property
    def left_out(self) -> Counter[str]:
        return self._log.left_out + Counter({LeftOut.OUTSIDE: self._outside})

    @property
    def size(self) -> int | None:
        return self._log.size

    def batches(self) -> Iterator[Sequence[LoggedEvent]]:
        self._outside, any_rows = 0, False
        for events in self._log.batches():
            kept = [event for event in events if self._holds(event)]
            self._outside += len(events) - len(kept)
            any_rows = any_rows or bool(kept)
            yield kept
        if not any_rows:
            raise EmptyLog(f"{self.name}: has no decision in that span of time; {self._outside:,} are outside of it")

    def _holds(self, event: LoggedEvent) -> bool:
        moment = event.decided_at
        if moment is None:
            raise InvalidLog(f"row {event.row}: decided_at: is missing: a span of time needs it")
        return (self._since is None or self._since <= moment) and (self._until is None or moment < self._until)
