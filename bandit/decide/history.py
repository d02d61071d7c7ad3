"""What this user was sent and how they responded: counters and recency for the model, instants for the rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bandit.times import DAY

LOOKBACK_DAYS = 30  # of the features; rules may reach further back
_WINDOWS_DAYS = (1, 7, 30)
LOOKBACK = LOOKBACK_DAYS * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """A message that was sent, or whose slot is reserved."""

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
    """One user's sends and responses in one campaign, oldest first.

    It may reach further back than the features: how much is loaded depends on the rules and on the rest of the batch,
    and must not change what the model sees.
    """

    sends: tuple[Send, ...] = ()
    responses: tuple[Response, ...] = ()

    def with_send(self, send: Send) -> "History":
        """The same history after one more reserved send."""
        sends = sorted((*self.sends, send), key=lambda one: one.send_at)
        return replace(self, sends=tuple(sends))

    def features(self, now: datetime) -> Mapping[str, float]:
        """Counts at `now`: sends per channel in 1, 7 and 30 days, streak of ignored sends, responses in 30 days."""
        sends = self._recent_sends(now)
        responses = [one for one in self.responses if now - LOOKBACK < one.occurred_at <= now]
        if not sends and not responses:
            return {}
        counts: dict[str, float] = {}
        windows = [(f"sent_{days}d_", now - days * DAY) for days in _WINDOWS_DAYS]
        for send in sends:
            for prefix, start in windows:
                if send.send_at > start:
                    name = prefix + send.channel
                    counts[name] = counts.get(name, 0.0) + 1.0
        return {
            **counts,
            "ignored_streak": float(_ignored_streak(sends, responses, now)),
            "responses_30d": float(len(responses)),
        }

    def days_since_contents(self, now: datetime) -> Mapping[str, float]:
        """Days since each content of the last 30 days was sent, by id; 0 if its send time is in the future."""
        return {send.content: max(0.0, (now - send.send_at) / DAY) for send in self._recent_sends(now)}

    def days_since_kinds(self, now: datetime) -> Mapping[str | None, float]:
        """Days since a content of each kind was sent, within 30 days; contents without a kind are not counted."""
        recent = self._recent_sends(now)
        return {send.kind: max(0.0, (now - send.send_at) / DAY) for send in recent if send.kind is not None}

    def _recent_sends(self, now: datetime) -> Sequence[Send]:
        start = now - LOOKBACK
        if not self.sends or self.sends[0].send_at > start:
            return self.sends
        return [send for send in self.sends if send.send_at > start]


def _ignored_streak(sends: Sequence[Send], responses: Sequence[Response], now: datetime) -> int:
    answered = {one.decision_id for one in responses}
    streak = 0
    for send in reversed(sends):
        if send.send_at > now:
            continue
        if send.decision_id in answered:
            break
        streak += 1
    return streak


NO_HISTORY = History()
