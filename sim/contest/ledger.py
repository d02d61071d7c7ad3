"""What the service's store knows of users and open decisions, kept in memory: histories, feedback, what closes when."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import SeenEvent, event_worth
from bandit.decide.decision import content_kind
from bandit.decide.eligibility import EligibleSet
from bandit.decide.history import LOOKBACK, NO_HISTORY, History, Response, Send
from bandit.domain import Feedback, FeedbackStatus
from bandit.times import HOUR

Seen = TypeVar("Seen")  # what the decider wants back with the outcome


@dataclass(slots=True, kw_only=True)
class Made(Generic[Seen]):
    """A decision, with what came of it so far."""

    id: str
    user: str
    now: datetime  # aware, UTC
    eligible: EligibleSet
    place: int  # that was chosen, in the eligible set
    seen: Seen
    events: list[SeenEvent] = field(default_factory=list)  # that count for the reward

    @property
    def channel(self) -> str | None:
        """The channel of the send; None for silence."""
        return self.eligible.action(self.place).channel

    @property
    def send(self) -> Send | None:
        """The send that now takes a slot in the history; None for silence."""
        if self.place == 0:
            return None
        cell, candidates = self.eligible.cells.eligible[self.place - 1], self.eligible.candidates
        content = candidates.contents[cell.content]
        return Send(
            decision_id=self.id,
            channel=candidates.channels[cell.channel],
            content=content.id,
            kind=content_kind(content),
            send_at=candidates.times[cell.time].send_at,
        )


class Ledger(Generic[Seen]):
    """Decisions of one campaign, in the order in which they were made."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self._histories: dict[str, History] = {}
        self._users: dict[str, str] = {}  # by decision id
        self._open: dict[str, Made[Seen]] = {}  # by decision id
        self._unclosed: deque[Made[Seen]] = deque()
        self._reported: set[tuple[str, str, datetime]] = set()

    def history(self, user: str, now: datetime) -> History:
        """The part of a history that features see; the presets' rules reach no further, for they have none."""
        history = self._histories.get(user, NO_HISTORY)
        if not history.sends and not history.responses:
            return history
        return History(
            sends=tuple(one for one in history.sends if one.send_at > now - LOOKBACK),
            responses=tuple(one for one in history.responses if one.occurred_at > now - LOOKBACK),
        )

    def note(self, made: Made[Seen]) -> None:
        """Takes notice of a decision; its send is in the user's history from now on."""
        self._users[made.id] = made.user
        self._open[made.id] = made
        self._unclosed.append(made)
        send = made.send
        if send is not None:
            self._histories[made.user] = self.history(made.user, made.now).with_send(send)

    def take(self, feedback: Feedback) -> FeedbackStatus:
        """What becomes of a feedback event."""
        decision_id, event, occurred_at = feedback.decision_id, feedback.event, feedback.occurred_at
        if (decision_id, event, occurred_at) in self._reported:
            return FeedbackStatus.DUPLICATE
        self._reported.add((decision_id, event, occurred_at))
        if (event_worth(self._campaign, event, feedback.value) or 0.0) > 0:
            self._note_response(decision_id, occurred_at)
        made = self._open.get(decision_id)
        if made is None or occurred_at - made.now > self._campaign.reward.window_hours * HOUR:
            return FeedbackStatus.LATE
        made.events.append(SeenEvent(event=event, value=feedback.value, occurred_at=occurred_at))
        return FeedbackStatus.ACCEPTED

    def _note_response(self, decision_id: str, occurred_at: datetime) -> None:
        user = self._users[decision_id]
        history = self._histories.get(user, NO_HISTORY)
        response = Response(decision_id=decision_id, occurred_at=occurred_at)
        self._histories[user] = History(sends=history.sends, responses=(*history.responses, response))

    def close(self, now: datetime) -> list[Made[Seen]]:
        """The decisions whose time to be learned has come, in order; events that come after no longer count."""
        closed = []
        while self._unclosed and self._unclosed[0].now + self._campaign.reward.learn_hours * HOUR <= now:
            made = self._unclosed.popleft()
            del self._open[made.id]
            closed.append(made)
        return closed
