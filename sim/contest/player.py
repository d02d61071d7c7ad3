"""A baseline in place of the service: the same histories, rules and rewards, by the service's own functions."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import SeenEvent, event_worth, reward_of
from bandit.decide.decision import content_kind
from bandit.decide.eligibility import eligible_set
from bandit.decide.history import LOOKBACK, NO_HISTORY, History, Response, Send
from bandit.domain import Feedback, FeedbackStatus
from bandit.sendtimes import zone
from bandit.times import HOUR
from bandit.wire.feedback import FeedbackAnswer, event_of
from bandit.wire.request import request_of
from sim.baselines.protocol import Baseline, Opportunity, Outcome
from sim.contest.drive import played
from sim.world.world import Document


@dataclass(slots=True, kw_only=True)
class _Open:
    """A decision whose reward is not final yet."""

    id: str
    opportunity: Opportunity
    place: int
    events: list[SeenEvent] = field(default_factory=list)


class Playing:
    """Decides and accepts feedback for a baseline, which learns rewards exactly when the service's learner would."""

    def __init__(self, baseline: Baseline, campaign: Campaign, *, learn_every: int) -> None:
        """
        Args:
            learn_every: decisions between two calls of `learn`.
        """
        self._baseline = baseline
        self._campaign = campaign
        self._learn_every = learn_every
        self._made = 0
        self._passes = 0
        self._since_pass = 0
        self._histories: dict[str, History] = {}
        self._open: dict[str, _Open] = {}  # by decision id, in the order of the decisions
        self._unlearned: deque[_Open] = deque()

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        """One decision per request, in order; each sees the sends of those before it."""
        answers = [self._decide(document) for document in requests]
        self._since_pass += len(answers)
        if self._since_pass >= self._learn_every:
            self._since_pass = 0
            self._learn(datetime.fromisoformat(requests[-1]["now"]))
        return answers

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        """One status per event, in order."""
        return [FeedbackAnswer(status=self._take(event_of(event, None))).sent() for event in events]

    def _decide(self, document: Document) -> Document:
        request = request_of(document)
        now, user = datetime.fromisoformat(document["now"]), request.user
        history = _recent(self._histories.get(user.id, NO_HISTORY), now)
        eligible = eligible_set(self._campaign, request, history, now=now, local=zone(user.timezone))
        opportunity = Opportunity(number=self._made, user=user, now=now, history=history, eligible=eligible)
        made = _Open(id=f"d-{self._made}", opportunity=opportunity, place=self._baseline.choose(opportunity))
        self._made += 1
        self._open[made.id] = made
        self._unlearned.append(made)
        self._histories[user.id] = _with_send(history, made)
        return self._answer(made)

    def _answer(self, made: _Open) -> Document:
        return played(made.id, made.opportunity.eligible.action(made.place), model_version=self._passes)

    def _take(self, told: Feedback) -> FeedbackStatus:
        made, occurred_at = self._open.get(told.decision_id), told.occurred_at
        if made is None or occurred_at - made.opportunity.now > self._window(self._campaign.reward.window_hours):
            return FeedbackStatus.LATE
        event = SeenEvent(event=told.event, value=None, occurred_at=occurred_at)
        if event in made.events:
            return FeedbackStatus.DUPLICATE
        made.events.append(event)
        if (event_worth(self._campaign, event.event, None) or 0.0) > 0:
            self._note_response(made, occurred_at)
        return FeedbackStatus.ACCEPTED

    def _note_response(self, made: _Open, occurred_at: datetime) -> None:
        user = made.opportunity.user.id
        history = self._histories[user]
        response = Response(decision_id=made.id, occurred_at=occurred_at)
        self._histories[user] = History(sends=history.sends, responses=(*history.responses, response))

    def _learn(self, now: datetime) -> None:
        """Passes final rewards to the baseline; later events are ignored."""
        final = self._window(self._campaign.reward.learn_hours)
        outcomes = []
        while self._unlearned and self._unlearned[0].opportunity.now + final <= now:
            outcomes.append(self._outcome(self._unlearned.popleft()))
        self._baseline.learn(outcomes)
        self._passes += 1

    def _outcome(self, made: _Open) -> Outcome:
        del self._open[made.id]
        channel = made.opportunity.eligible.action(made.place).channel
        reward = reward_of(self._campaign, channel, made.events)
        return Outcome(opportunity=made.opportunity, place=made.place, reward=reward)

    @staticmethod
    def _window(hours: float) -> timedelta:
        return hours * HOUR


def _recent(history: History, now: datetime) -> History:
    """The part of a history that features use; the presets have no rules that reach further back."""
    if not history.sends and not history.responses:
        return history
    return History(
        sends=tuple(one for one in history.sends if one.send_at > now - LOOKBACK),
        responses=tuple(one for one in history.responses if one.occurred_at > now - LOOKBACK),
    )


def _with_send(history: History, made: _Open) -> History:
    if made.place == 0:
        return history
    eligible = made.opportunity.eligible
    cell = eligible.cells.eligible[made.place - 1]
    content, time = eligible.candidates.contents[cell.content], eligible.candidates.times[cell.time]
    send = Send(
        decision_id=made.id,
        channel=eligible.candidates.channels[cell.channel],
        content=content.id,
        kind=content_kind(content),
        send_at=time.send_at,
    )
    return history.with_send(send)
