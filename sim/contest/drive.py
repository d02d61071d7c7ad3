"""The loop world -> decide -> feedback, for any object that can decide.

This object may be the service in this process (`InProcess`), the service over HTTP (`api.client.SendoptClient`), a
baseline (`sim.contest.player.Playing`) or a reference that knows the truth (`sim.contest.references.Knowing`).

Each request contains the simulated time, so the service must run on the request clock. Users arrive in time order, and
decisions about them are made in batches. An event is reported before the first batch that lies completely after it. So
a batch must span less simulated time than the campaign's window leaves after the last possible response; otherwise
feedback would be late.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from itertools import count
from operator import add, sub
from typing import Any, Protocol

import numpy as np

from bandit.decide.decision import DecisionRecord
from bandit.domain import Action, FeedbackStatus, Policy
from bandit.errors import SendoptError
from bandit.serve.decisions import Ask
from bandit.serve.decisions import Outcome as DecideOutcome
from bandit.serve.feedback import Outcome as FeedbackOutcome
from bandit.service import Service
from bandit.times import HOUR, utc_text
from bandit.wire.decision import action_document, action_of, decision_document
from bandit.wire.feedback import FeedbackAnswer, event_of
from bandit.wire.request import request_of
from sim.common.arrays import Floats
from sim.world.state import State
from sim.world.world import CLICKED, MUTED, UNSUBSCRIBED, VISITED, Arrival, Document, Event, Offer, World, day_of

LARGEST_BATCH = 1_000  # requests or events that the service accepts at once
HOLDOUTS = frozenset((Policy.UNIFORM_HOLDOUT, Policy.NO_SEND_HOLDOUT))
_STATUSES = frozenset(FeedbackStatus)  # any other status is that of a problem


class Decides(Protocol):
    """Decides and accepts feedback, as documents of the HTTP interface."""

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        """One decision, or one problem, per request, in order."""

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        """One status, or one problem, per event, in order."""


class Refused(SendoptError):
    """The answer to a request or an event of the simulation was a problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Sums over decisions; the difference of two tallies of one run is the tally of the decisions between them."""

    decisions: int = 0
    sends: int = 0
    visits: int = 0  # responses and organic visits, of these decisions
    opt_outs: int = 0
    expected: float = 0.0  # true expected rewards of the actions chosen
    realised: float = 0.0  # rewards drawn
    uniform: float = 0.0  # true expected rewards of uniform choice, on the same opportunities
    oracle: float = 0.0  # true expected rewards of the best choice

    def __add__(self, other: "Tally") -> "Tally":
        return self._joined(other, add)

    def __sub__(self, other: "Tally") -> "Tally":
        return self._joined(other, sub)

    def _joined(self, other: "Tally", join: Callable[[Any, Any], Any]) -> "Tally":
        names = [one.name for one in fields(self)]
        return Tally(**{name: join(getattr(self, name), getattr(other, name)) for name in names})

    @property
    def share(self) -> float:
        """Share of the way from uniform choice (0) to the myopic oracle (1); NaN where they do not differ."""
        way = self.oracle - self.uniform
        return (self.expected - self.uniform) / way if way > 0 else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of a run after a batch."""

    now: datetime  # simulated, of the last decision
    total: Tally  # since the run began
    held_out: Tally  # of these, the decisions about users in a holdout
    model_version: int
    decision: Document  # the last answer


def drive(
    world: World,
    service: Decides,
    arrivals: Iterable[Arrival],
    *,
    batch_size: int,
    rng: np.random.Generator,
    state: State | None = None,
) -> Iterator[Progress]:
    """Progress after each batch of decisions, until there are no more arrivals.

    Args:
        arrivals: opportunities in time order.
        batch_size: maximum; a batch that spans much simulated time is smaller.
        rng: source of the users' luck.
        state: the users' state, changed by the run, for a policy that knows it; None for a new state.

    Raises:
        Refused: the answer to a request or an event was a problem, or an action that was not offered.
    """
    run = _Run(world=world, service=service, rng=rng, state=world.new_state() if state is None else state)
    for batch in _batches(arrivals, batch_size, world.preset.slack_hours * HOUR):
        yield run.batch(batch)


def _batches(arrivals: Iterable[Arrival], size: int, span: timedelta) -> Iterator[list[Arrival]]:
    batch: list[Arrival] = []
    for arrival in arrivals:
        if batch and (len(batch) == size or arrival.now - batch[0].now >= span):
            yield batch
            batch = []
        batch.append(arrival)
    if batch:
        yield batch


@dataclass(frozen=True, slots=True, kw_only=True)
class _Response:
    """A user's response that has not taken effect or has not been reported yet."""

    event: Event
    decision_id: str
    user: int
    channel: int | None  # of the message; None after silence

    def document(self) -> Document:
        """The feedback as a document of the HTTP interface."""
        return {
            "decision_id": self.decision_id,
            "event": self.event.name,
            "occurred_at": utc_text(self.event.occurred_at),
        }


@dataclass(slots=True, kw_only=True)
class _Run:
    """The state of a run between batches."""

    world: World
    service: Decides
    rng: np.random.Generator
    state: State
    total: Tally = field(default_factory=Tally)
    held_out: Tally = field(default_factory=Tally)
    happening: list[tuple[datetime, int, _Response]] = field(default_factory=list)  # heap: time, order of making
    reporting: list[tuple[datetime, int, _Response]] = field(default_factory=list)  # heap: time, order of making
    order: Iterator[int] = field(default_factory=count)

    def batch(self, arrivals: Sequence[Arrival]) -> Progress:
        now = arrivals[0].now
        for response in _until(now, self.happening):
            self._take_effect(response)
        self._report([response.document() for response in _until(now, self.reporting)])
        offers = [self.world.offer(one.user, one.now, self.state) for one in arrivals]
        answers = self.service.decide_batch([self._request(arrival) for arrival in arrivals])
        for arrival, offer, answer in zip(arrivals, offers, answers, strict=True):
            self._take(arrival, offer, answer)
        last = answers[-1]
        return Progress(
            now=arrivals[-1].now,
            total=self.total,
            held_out=self.held_out,
            model_version=int(last["model_version"]),
            decision=last,
        )

    def _take_effect(self, response: _Response) -> None:
        leaves = {UNSUBSCRIBED: self.state.left, MUTED: self.state.muted}.get(response.event.name)
        if leaves is not None and response.channel is not None:
            leaves[response.user, response.channel] = True

    def _report(self, happened: Sequence[Document]) -> None:
        for start in range(0, len(happened), LARGEST_BATCH):
            for answer in self.service.feedback_batch(happened[start : start + LARGEST_BATCH]):
                if answer["status"] not in _STATUSES:
                    raise Refused(f"feedback was refused: {json.dumps(answer)}")

    def _request(self, arrival: Arrival) -> Document:
        """The request as a document of the HTTP interface."""
        world = self.world
        channels = [name for name, left in zip(world.channels, self.state.left[arrival.user], strict=True) if not left]
        request = {
            "campaign": world.campaign.id,
            "user": {**world.user_document(arrival.user), "channels": sorted(channels)},
            "now": utc_text(arrival.now),
        }
        contents = world.contents_asked(arrival.user, arrival.now)
        if contents is not None:
            request["contents"] = contents
        return request

    def _take(self, arrival: Arrival, offer: Offer, answer: Document) -> None:
        """Counts one decision, and draws the user's response."""
        world, user, now, state = self.world, arrival.user, arrival.now, self.state
        action = _action(answer)
        if action not in offer.actions:
            raise Refused(f"not one of the {len(offer.actions)} actions of user {user}: {json.dumps(answer)}")
        place = offer.actions.index(action)
        values = world.expected_rewards(user, offer, now, state)
        events = world.respond(user, offer, place, now=now, state=state, rng=self.rng)
        tally = _tally(values, place, events, world.reward(action.channel, events))
        self.total += tally
        if answer.get("policy") in HOLDOUTS:  # a policy that is not the service names no policy, and has no holdouts
            self.held_out += tally
        channel = None
        if place > 0:
            channel = int(offer.channels[place - 1])
            state.send(world.preset.pressure, np.array([user]), offer.contents[place - 1 : place], day_of(now))
        for event in events:
            self._expect(_Response(event=event, decision_id=answer["decision_id"], user=user, channel=channel))

    def _expect(self, response: _Response) -> None:
        event = response.event
        heapq.heappush(self.happening, (event.occurred_at, next(self.order), response))
        for reported_at in event.reported_at:
            heapq.heappush(self.reporting, (reported_at, next(self.order), response))


def _until(now: datetime, heap: list[tuple[datetime, int, _Response]]) -> list[_Response]:
    """The entries that are due now, removed from the heap in time order."""
    due = []
    while heap and heap[0][0] <= now:
        due.append(heapq.heappop(heap)[2])
    return due


def _tally(values: Floats, place: int, events: Sequence[Event], reward: float) -> Tally:
    """The tally of one decision."""
    names = {event.name for event in events}
    return Tally(
        decisions=1,
        sends=int(place > 0),
        visits=len(names & {CLICKED, VISITED}),
        opt_outs=len(names & {UNSUBSCRIBED}),
        expected=float(values[place]),
        realised=reward,
        uniform=float(values.mean()),
        oracle=float(values.max()),
    )


def _action(answer: Document) -> Action:
    """The action of a decision document."""
    if "decision_id" not in answer:
        raise Refused(f"a request was refused: {json.dumps(answer)}")
    return action_of(answer)


class InProcess:
    """The service in this process, on the request clock; it learns and publishes after a fixed number of decisions."""

    def __init__(self, service: Service, *, learn_every: int) -> None:
        self._service = service
        self._learn_every = learn_every
        self._since_pass = 0

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        """One decision per request, in order; raises Refused if an outcome is not a decision."""
        outcomes = self._service.decider.decide_many([Ask(request=request_of(request)) for request in requests])
        self._since_pass += len(outcomes)
        if self._since_pass >= self._learn_every:
            self._since_pass = 0
            self._service.learner.run_pass()
            self._service.models.refresh()
        return [_decision_document(outcome) for outcome in outcomes]

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        """One status per event, in order; raises Refused if an event has no status."""
        outcomes = self._service.feedback.accept_many([event_of(event, None) for event in events])
        return [_status_document(outcome) for outcome in outcomes]


def _decision_document(outcome: DecideOutcome) -> Document:
    if not isinstance(outcome, DecisionRecord):
        raise Refused(f"a request was refused: {outcome}")
    return decision_document(outcome.decision)


def _status_document(outcome: FeedbackOutcome) -> Document:
    if isinstance(outcome, SendoptError):
        raise Refused(f"feedback was refused: {outcome}")
    return FeedbackAnswer(status=outcome).sent()


def played(decision_id: str, action: Action, *, model_version: int) -> Document:
    """What the loop reads of a decision, from something that is no service and has neither policy nor propensity."""
    return {"decision_id": decision_id, **action_document(action), "model_version": model_version}
