"""What a policy does, beside what it earns: how often it sends, on which channels, at what hours, with which contents.

It is summed over the decisions as they were logged, from the policy's own probabilities, so no weights are needed.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from bandit.decide.exploration import Pmf
from bandit.decide.logged import LoggedActions
from bandit.errors import UnknownTimeZone
from bandit.sendtimes import zone
from sim.logs.event import LoggedEvent

KINDS = ("channel", "hour", "content")
MOST_SHOWN = 12  # of each kind


class Deeds:
    """Expected sends of one policy over the decisions of a log of this service."""

    def __init__(self) -> None:
        self.decisions = 0
        self.sends = 0.0
        self._by_kind: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}

    def add(self, events: Sequence[LoggedEvent], pmfs: Sequence[Pmf | None]) -> None:
        """Counts in the decisions of which the set and the policy's probabilities are known."""
        for event, pmf in zip(events, pmfs, strict=True):
            if pmf is not None and isinstance(event.actions, LoggedActions):
                self._add(event, event.actions, pmf)

    def _add(self, event: LoggedEvent, actions: LoggedActions, pmf: Pmf) -> None:
        self.decisions += 1
        hours = _local_hours(event, actions)
        for cell, probability in zip(actions.cells, pmf[1:].tolist(), strict=True):
            if probability > 0.0:
                self.sends += probability
                self._by_kind["channel"][actions.channels[cell.channel]] += probability
                self._by_kind["hour"][hours[cell.time]] += probability
                self._by_kind["content"][actions.contents[cell.content]] += probability

    def shares(self, kind: str) -> Iterator[tuple[str, float]]:
        """Shares of the sends, the largest first; hours in their order."""
        counts = self._by_kind[kind]
        ordered = sorted(counts.items()) if kind == "hour" else counts.most_common(MOST_SHOWN)
        yield from ((name, count / self.sends) for name, count in ordered)


def _local_hours(event: LoggedEvent, actions: LoggedActions) -> list[str]:
    """The hour of each send time where the user is; in UTC where the log does not tell the zone."""
    try:
        local = zone(event.context["request"]["user"]["timezone"])
    except (KeyError, TypeError, UnknownTimeZone):
        return [f"{datetime.fromisoformat(time).hour:02}" for time in actions.times]
    return [f"{datetime.fromisoformat(time).astimezone(local).hour:02}" for time in actions.times]
