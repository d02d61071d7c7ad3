"""What this user was sent and did: counters and recency for the model, instants for the rules."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

LOOKBACK_DAYS = 30  # of the features; rules may reach further back
_WINDOWS_DAYS = (1, 7, 30)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """A message that went out or has its slot reserved."""

    decision_id: str
    channel: str
    content: str
    kind: str | None  # the content's feature "kind"
    send_at: datetime  # aware, UTC; may lie ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A feedback event of positive worth."""

    decision_id: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One user's sends and responses in one campaign, oldest first."""

    sends: tuple[Send, ...] = ()
    responses: tuple[Response, ...] = ()

    def with_send(self, send: Send) -> "History":
        """The same history after one more reserved send."""
        sends = sorted((*self.sends, send), key=lambda one: one.send_at)
        return replace(self, sends=tuple(sends))

    def features(self, now: datetime) -> Mapping[str, float]:
        """Counts as known at `now`: sends per channel in 1, 7 and 30 days, ignored streak, responses in 30 days."""
        if not self.sends and not self.responses:
            return {}
        counts: dict[str, float] = {}
        for send in self.sends:
            for days in _WINDOWS_DAYS:
                if send.send_at > now - days * DAY:
                    name = f"sent_{days}d_{send.channel}"
                    counts[name] = counts.get(name, 0.0) + 1.0
        responses = sum(now - LOOKBACK_DAYS * DAY < one.occurred_at <= now for one in self.responses)
        return {
            **counts,
            "ignored_streak": float(self._ignored_streak(now)),
            "responses_30d": float(responses),
        }

    def _ignored_streak(self, now: datetime) -> int:
        answered = {one.decision_id for one in self.responses if one.occurred_at <= now}
        streak = 0
        for send in reversed(self.sends):
            if send.send_at > now:
                continue
            if send.decision_id in answered:
                break
            streak += 1
        return streak

    def days_since_contents(self, now: datetime) -> Mapping[str, float]:
        """Days since each content went out or will, by id; 0 when that lies ahead."""
        return {send.content: max(0.0, (now - send.send_at) / DAY) for send in self.sends}

    def days_since_kinds(self, now: datetime) -> Mapping[str | None, float]:
        """Days since any content of each kind; those of no kind are not counted."""
        return {send.kind: max(0.0, (now - send.send_at) / DAY) for send in self.sends if send.kind is not None}


NO_HISTORY = History()
