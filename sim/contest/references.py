"""Policies that know the truth, in place of the service: the best possible choice, or a fixed rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from bandit.domain import FeedbackStatus
from bandit.wire.feedback import FeedbackAnswer
from sim.contest.drive import played
from sim.world.belief import FromFeatures
from sim.world.daily import Table
from sim.world.state import State
from sim.world.truth import Constant, Paced, is_time
from sim.world.world import Document, Offer, World, day_of

Choose = Callable[[int, Offer, datetime], int]  # user, offer, now -> place in the offer


@dataclass(slots=True, kw_only=True)
class Knowing:
    """Decides by a rule that may use the world and the state of the run; learns nothing."""

    world: World
    state: State  # of the same run
    choose: Choose
    made: int = 0

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        """One decision per request, in order."""
        return [self._decide(request) for request in requests]

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        """Accepts the events and ignores them."""
        return [FeedbackAnswer(status=FeedbackStatus.ACCEPTED).sent() for _ in events]

    def _decide(self, request: Document) -> Document:
        user, now = int(request["user"]["id"].removeprefix("u-")), datetime.fromisoformat(request["now"])
        offer = self.world.offer(user, now, self.state)
        action = offer.actions[self.choose(user, offer, now)]
        self.made += 1
        return played(f"d-{self.made}", action, model_version=0)


def knowing_features(world: World, state: State, *, seed: int) -> Knowing:
    """The best action of the moment by what the features show of the user, on average over what they do not show."""
    shown = FromFeatures(world, seed=seed)

    def choose(user: int, offer: Offer, now: datetime) -> int:
        return int(np.argmax(shown.expected_rewards(user, offer, now, state)))

    return Knowing(world=world, state=state, choose=choose)


def pacing(world: World, state: State, policy: Paced) -> Knowing:
    """The best action of the moment, but no send before the user's gap after the last send has passed."""
    gaps = np.broadcast_to(policy.gaps_days, len(world))

    def choose(user: int, offer: Offer, now: datetime) -> int:
        if not is_time(_days_since(state, user, now), gaps[user]):
            return 0
        return int(np.argmax(world.expected_rewards(user, offer, now, state)))

    return Knowing(world=world, state=state, choose=choose)


def repeating(world: World, state: State, policy: Constant) -> Knowing:
    """The same channel, content and local hour whenever the gap has passed and they are offered."""
    table, send = Table.of(world), policy.place - 1
    wanted = np.array([[table.channels[send]], [table.contents[send]], [table.hours[send]]])

    def choose(user: int, offer: Offer, now: datetime) -> int:
        if not is_time(_days_since(state, user, now), policy.gap_days):
            return 0
        same = np.flatnonzero(np.all(np.stack([offer.channels, offer.contents, offer.hours]) == wanted, axis=0))
        return 1 + int(same[0]) if same.size else 0

    return Knowing(world=world, state=state, choose=choose)


def _days_since(state: State, user: int, now: datetime) -> float:
    """Whole days since the user's last send, rounded, because the time of day may vary."""
    return float(np.round(day_of(now) - state.last_sent_any[user]))
