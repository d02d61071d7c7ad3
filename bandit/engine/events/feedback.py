"""Tells when events of a kind stop or thin out on a channel, against that channel's own past.

Missing feedback looks like a change of what users prefer, and is none: a connection is down, reports come a day late,
one type of event is not sent any more. Silence is a channel here too, so that decisions without a send tell of it.
Where events have stopped, decisions are not learned from; what is only rarer is learned as a lower level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

SILENCE = ""  # in the place of a channel's name
MEMORY = 8_000.0  # decisions on a channel over which the past is taken, about
RECENT = 30.0  # events that the past makes expect of the decisions over which the present is taken, about
LEAST_EXPECTED = 20.0  # events that the past makes expect of the present, before anything is said
MISSING = 0.4  # share of the expected events below which they are missing
BACK = 0.7  # above which they are back
STOPPED = 0.1  # below which they have stopped
PATIENCE = 5_000  # decisions on a channel after which what is missing is taken for what users do now


@dataclass(slots=True, kw_only=True)
class Flow:
    """How often one event comes on one channel: now, and usually."""

    past_decisions: float = 0.0
    past_events: float = 0.0
    decisions: float = 0.0
    events: float = 0.0
    is_missing: bool = False
    missed: int = 0  # decisions since it began to be missing

    def take(self, decisions: int, events: float) -> None:
        """The decisions of one block on this channel, and how many of them the event came after."""
        kept = max(0.0, 1.0 - decisions * self._rate / RECENT)
        self.decisions = kept * self.decisions + decisions
        self.events = kept * self.events + events
        self._judge()
        self.missed = self.missed + decisions if self.is_missing else 0
        if self.missed > PATIENCE:
            self.past_decisions, self.past_events = 0.0, 0.0
            self.is_missing, self.missed = False, 0
        if not self.is_missing:
            kept = max(0.0, 1.0 - decisions / MEMORY)
            self.past_decisions = kept * self.past_decisions + decisions
            self.past_events = kept * self.past_events + events

    @property
    def share(self) -> float:
        """Events that came of those that the past makes expect; 1 where it cannot tell."""
        return self.events / self._expected if self._expected >= LEAST_EXPECTED else 1.0

    @property
    def _expected(self) -> float:
        return self.decisions * self._rate

    @property
    def _rate(self) -> float:
        """Events a decision, in the past."""
        return self.past_events / self.past_decisions if self.past_decisions else 0.0

    def _judge(self) -> None:
        """Missing events are those of which far fewer came than by chance."""
        if self._expected < LEAST_EXPECTED:
            return
        short = self._expected - self.events > 4.0 * sqrt(self._expected)
        self.is_missing = self.share < (BACK if self.is_missing else MISSING) and short


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """An event that is missing on a channel."""

    event: str
    channel: str  # "" for decisions without a send
    share: float  # of the events that were to be expected


class Watch:
    """The flows of one event, by channel."""

    def __init__(self, flows: Mapping[str, Flow] | None = None) -> None:
        self.flows = dict(flows or {})

    def take(self, channels: Sequence[str], outcomes: Sequence[float]) -> None:
        """One block; a decision without a send has the channel `SILENCE`."""
        counts: dict[str, list[float]] = {}
        for channel, outcome in zip(channels, outcomes, strict=True):
            sums = counts.setdefault(channel, [0.0, 0.0])
            sums[0] += 1.0
            sums[1] += float(outcome != 0.0)
        for channel, (decisions, events) in counts.items():
            self.flows.setdefault(channel, Flow()).take(int(decisions), events)

    def missing(self, event: str) -> list[Missing]:
        """The channels on which the event is missing."""
        return [
            Missing(event=event, channel=channel, share=flow.share)
            for channel, flow in self.flows.items()
            if flow.is_missing
        ]

    @property
    def stopped(self) -> frozenset[str]:
        """The channels on which hardly anything comes any more: what is seen there says nothing of the users."""
        return frozenset(name for name, flow in self.flows.items() if flow.is_missing and flow.share < STOPPED)
