"""The loop world -> decide -> feedback, against anything that can decide.

Simulated time goes in with each request, so the service must run on the request clock. Users arrive in time order and
are decided in batches; what they do comes back only once simulated time has passed it, before the first batch that
lies wholly after it. A batch must therefore span less simulated time than the campaign's window leaves after the last
possible response, or feedback comes late.
"""

import heapq
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count, islice
from typing import Protocol

import numpy as np

from bandit.decide import DecisionRecord
from bandit.decider import Ask
from bandit.decider import Outcome as DecideOutcome
from bandit.domain import Action, CampaignId, DecideRequest, DecisionId, Feedback, FeedbackStatus, User, UserId
from bandit.errors import SendoptError
from bandit.intake import Outcome as FeedbackOutcome
from bandit.receipts import utc_text
from bandit.service import Service
from sim.world import UNSUBSCRIBED, Arrival, Document, Event, World

LARGEST_BATCH = 1_000  # that the service takes at once
_STATUSES = frozenset(FeedbackStatus)  # any other status is the number of a problem


class Decides(Protocol):
    """Decides and takes feedback, in documents as on the wire."""

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        """One decision, or one problem, per request, in order."""

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        """One status, or one problem, per event, in order."""


class Refused(SendoptError):
    """A request or an event of the simulation was answered with a problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Sums over decisions; the difference of two of one run is the tally of the decisions between them."""

    decisions: int = 0
    sends: int = 0
    expected: float = 0.0  # true expected rewards of the actions chosen
    realised: float = 0.0  # rewards drawn
    uniform: float = 0.0  # true expected rewards of choosing uniformly, on the very same opportunities
    oracle: float = 0.0  # and of choosing best

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            decisions=self.decisions + other.decisions,
            sends=self.sends + other.sends,
            expected=self.expected + other.expected,
            realised=self.realised + other.realised,
            uniform=self.uniform + other.uniform,
            oracle=self.oracle + other.oracle,
        )

    def __sub__(self, other: "Tally") -> "Tally":
        return Tally(
            decisions=self.decisions - other.decisions,
            sends=self.sends - other.sends,
            expected=self.expected - other.expected,
            realised=self.realised - other.realised,
            uniform=self.uniform - other.uniform,
            oracle=self.oracle - other.oracle,
        )

    @property
    def share(self) -> float:
        """Share of the way from uniform choice (0) to the myopic oracle (1); NaN where they do not differ."""
        way = self.oracle - self.uniform
        return (self.expected - self.uniform) / way if way > 0 else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands after a batch."""

    now: datetime  # simulated, of the last decision
    total: Tally  # since the run began
    model_version: int
    decision: Document  # the last one, as answered


def drive(
    world: World, service: Decides, arrivals: Iterable[Arrival], *, batch_size: int, rng: np.random.Generator
) -> Iterator[Progress]:
    """Progress after each batch of decisions, until there are no more arrivals.

    Args:
        arrivals: in time order.
        rng: of the users' luck.

    Raises:
        Refused: the service answered a request or an event with a problem, or with an action that it was not offered.
    """
    run = _Run(world=world, service=service, rng=rng)
    remaining = iter(arrivals)
    while batch := list(islice(remaining, batch_size)):
        yield run.batch(batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Response:
    """What a user did, until it is reported."""

    event: Event
    decision_id: str
    user: int
    channel: str | None  # of the message; None after silence

    def document(self) -> Document:
        """The feedback as on the wire."""
        return {
            "decision_id": self.decision_id,
            "event": self.event.name,
            "occurred_at": utc_text(self.event.occurred_at),
        }


@dataclass(slots=True, kw_only=True)
class _Run:
    """What a run remembers between batches."""

    world: World
    service: Decides
    rng: np.random.Generator
    total: Tally = field(default_factory=Tally)
    due: list[tuple[datetime, int, _Response]] = field(default_factory=list)  # heap: time, order of making
    order: Iterator[int] = field(default_factory=count)
    left: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))  # channels opted out of, by user

    def batch(self, arrivals: Sequence[Arrival]) -> Progress:
        self._send_due(arrivals[0].now)
        offered = [self.world.actions(one.user, one.now, self._reachable(one.user)) for one in arrivals]
        answers = self.service.decide_batch([self._request(one) for one in arrivals])
        for arrival, actions, answer in zip(arrivals, offered, answers, strict=True):
            self._take(arrival, actions, answer)
        last = answers[-1]
        return Progress(now=arrivals[-1].now, total=self.total, model_version=int(last["model_version"]), decision=last)

    def _send_due(self, now: datetime) -> None:
        """Reports everything that has happened by now, in time order."""
        happened = []
        while self.due and self.due[0][0] <= now:
            _, _, response = heapq.heappop(self.due)
            if response.event.name == UNSUBSCRIBED and response.channel is not None:
                self.left[response.user].add(response.channel)
            happened.append(response.document())
        for start in range(0, len(happened), LARGEST_BATCH):
            for answer in self.service.feedback_batch(happened[start : start + LARGEST_BATCH]):
                if answer["status"] not in _STATUSES:
                    raise Refused(f"feedback was refused: {json.dumps(answer)}")

    def _reachable(self, user: int) -> frozenset[str]:
        return frozenset(self.world.campaign.channels) - self.left.get(user, set())

    def _request(self, arrival: Arrival) -> Document:
        user = self.world.user_document(arrival.user)
        return {
            "campaign": self.world.campaign.id,
            "user": {**user, "channels": sorted(self._reachable(arrival.user))},
            "now": utc_text(arrival.now),
        }

    def _take(self, arrival: Arrival, actions: Sequence[Action], answer: Document) -> None:
        """Counts one decision and draws what the user does after it."""
        action = _action(answer)
        if action not in actions:
            raise Refused(f"not one of the {len(actions)} actions of user {arrival.user}: {json.dumps(answer)}")
        values = self.world.expected_rewards(arrival.user, actions)
        events = self.world.respond(arrival.user, action, decided_at=arrival.now, rng=self.rng)
        self.total += Tally(
            decisions=1,
            sends=int(action.send),
            expected=float(values[actions.index(action)]),
            realised=self.world.reward(action.channel, events),
            uniform=float(values.mean()),
            oracle=float(values.max()),
        )
        for event in events:
            response = _Response(
                event=event,
                decision_id=answer["decision_id"],
                user=arrival.user,
                channel=action.channel,
            )
            heapq.heappush(self.due, (event.occurred_at, next(self.order), response))


def _action(answer: Document) -> Action:
    """The action of a decision as on the wire."""
    if "decision_id" not in answer:
        raise Refused(f"a request was refused: {json.dumps(answer)}")
    send_at = answer["send_at"]
    return Action(
        channel=answer["channel"],
        content=answer["content"],
        send_at=None if send_at is None else datetime.fromisoformat(send_at),
    )


class InProcess:
    """The service in this process, on the request clock; it learns and publishes by the count of decisions."""

    def __init__(self, service: Service, *, learn_every: int) -> None:
        self._service = service
        self._learn_every = learn_every
        self._since_pass = 0

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        """One decision per request, in order; raises Refused for one that is none."""
        outcomes = self._service.decider.decide_many([Ask(request=_request(request)) for request in requests])
        self._since_pass += len(outcomes)
        if self._since_pass >= self._learn_every:
            self._since_pass = 0
            self._service.learner.run_pass()
            self._service.models.refresh()
        return [_decision_document(outcome) for outcome in outcomes]

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        """One status per event, in order; raises Refused for one that has none."""
        outcomes = self._service.feedback.accept_many([_feedback(event) for event in events])
        return [_status_document(outcome) for outcome in outcomes]


def _request(document: Document) -> DecideRequest:
    user = document["user"]
    return DecideRequest(
        campaign=CampaignId(document["campaign"]),
        user=User(
            id=UserId(user["id"]),
            timezone=user["timezone"],
            channels=frozenset(user["channels"]),
            features={
                name: tuple(value) if isinstance(value, list) else value for name, value in user["features"].items()
            },
        ),
        now=datetime.fromisoformat(document["now"]),
        body=json.dumps(document),
    )


def _decision_document(outcome: DecideOutcome) -> Document:
    if not isinstance(outcome, DecisionRecord):
        raise Refused(f"a request was refused: {outcome}")
    decision = outcome.decision
    send_at = decision.action.send_at
    return {
        "decision_id": decision.id,
        "channel": decision.action.channel,
        "content": decision.action.content,
        "send_at": None if send_at is None else utc_text(send_at),
        "propensity": decision.propensity,
        "model_version": decision.model_version,
    }


def _feedback(document: Document) -> Feedback:
    return Feedback(
        decision_id=DecisionId(document["decision_id"]),
        event=document["event"],
        occurred_at=datetime.fromisoformat(document["occurred_at"]),
    )


def _status_document(outcome: FeedbackOutcome) -> Document:
    if isinstance(outcome, SendoptError):
        raise Refused(f"feedback was refused: {outcome}")
    return {"status": outcome.value}
