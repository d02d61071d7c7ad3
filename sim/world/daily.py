"""Whole populations, one day at a time: decisions about all users at once, on arrays.

One step is a day, or the number of days in which one organic visit counts. Events and their probabilities follow the
formulas of `sim.world.world`. The effects of a send start with its decision, those of an opt-out or a mute with the
next step. The weekday is that of the world, the hours are each user's own. The luck of a step depends only on the seed
and the day, so two policies with the same seed meet the same users and luck: common random numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from sim.common.arrays import Floats, Ints
from sim.world.state import Bools, State
from sim.world.world import Chances, World

CHUNK_USERS = 8_192  # users valued at once, so that the arrays need at most some tens of megabytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The sends of a world, channel-major as in an eligible set: place 0 is silence, place i is send i - 1."""

    channels: Ints  # shape (sends,), as all below
    contents: Ints
    hours: Ints

    def __len__(self) -> int:
        return 1 + len(self.channels)

    @classmethod
    def of(cls, world: World) -> "Table":
        hours = world.preset.local_hours
        shape = len(world.channels), len(world.contents), len(hours)
        channels, contents, times = (places.ravel() for places in np.indices(shape))
        return cls(channels=channels, contents=contents, hours=np.array(hours)[times])


class Day:
    """One step, as a policy sees it."""

    def __init__(self, world: World, table: Table, state: State, number: int) -> None:
        self.world, self.table, self.state, self.number = world, table, state, number
        self.users: Ints = np.arange(len(world))
        self.there: Bools = world.joined <= number  # shape (n,): users who have come by now
        self.reachable: Bools = ~state.left  # shape (n, channels)
        self.available: Bools = world.available(self.users, number)  # shape (n, contents)

    @property
    def weekday(self) -> int:
        """0 = Monday."""
        return self.number % 7

    @property
    def days_since(self) -> Floats:
        """Days since each user last got each content, shape (n, contents); infinite if never."""
        return self.number - self.state.last_sent

    @property
    def days_since_any(self) -> Floats:
        """Days since the last send to each user, shape (n,)."""
        return self.number - self.state.last_sent_any

    def eligible(self, users: Ints) -> Bools:
        """Whether each action can be chosen for each of these users, shape (users, actions)."""
        return self.eligible_at(np.broadcast_to(np.arange(len(self.table)), (len(users), len(self.table))), users)

    def eligible_at(self, places: Ints, users: Ints | None = None) -> Bools:
        """Whether these actions can be chosen for these users.

        Args:
            places: shape (users,) or (users, k).
            users: None: all users.
        """
        of = self.users if users is None else users
        rows = of.reshape(-1, *(1,) * (places.ndim - 1))
        channels, contents = self.table.channels[places - 1], self.table.contents[places - 1]
        sends = self.reachable[rows, channels] & self.available[rows, contents] & self.there[rows]
        eligible: Bools = (places == 0) | sends
        return eligible

    def values(self, users: Ints) -> Floats:
        """True expected immediate reward of each action for each of these users; minus infinity where not eligible."""
        chances = self.chances(users[:, None], np.arange(1, len(self.table))[None, :])
        sends = self.world.send_values(chances, self.table.channels[None, :])
        values = np.hstack([self.world.silence_values(users)[:, None], sends])
        return np.where(self.eligible(users), values, -np.inf)

    def chances(self, users: Ints, places: Ints) -> Chances:
        """What may happen after these sends; users and places broadcast together."""
        channels, contents, hours = (
            every[places - 1] for every in (self.table.channels, self.table.contents, self.table.hours)
        )
        weekdays = np.array(self.weekday)
        return self.world.chances(users, channels, contents, hours, weekdays, day=self.number, state=self.state)

    def chunks(self) -> Iterator[Ints]:
        """All users, some thousands at a time."""
        edges = [*range(0, len(self.users), CHUNK_USERS), len(self.users)]
        return (self.users[start:end] for start, end in pairwise(edges))


class DailyPolicy(Protocol):
    """Chooses for all users at once."""

    def choose(self, day: Day) -> Ints:
        """Place of an eligible action for every user, shape (n,)."""

    def learn(self, day: Day, chosen: Ints, rewards: Floats) -> None:
        """Takes the rewards that followed, shape (n,), those of one step before the next is decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The events of one day per user; all of shape (n,)."""

    there: Bools
    sent: Bools
    visited: Bools  # responded, or visited by themselves
    opted_out: Bools
    expected: Floats  # true expected rewards of the chosen actions; 0 for users who have not joined
    rewards: Floats  # rewards drawn


def live(world: World, policy: DailyPolicy, *, days: int, seed: int) -> Iterator[Step]:
    """All steps of this many days; users start rested."""
    table, state = Table.of(world), world.new_state()
    for number in range(0, days, world.preset.round_days):
        day = Day(world, table, state, number)
        chosen = policy.choose(day)
        step = _step(day, chosen, np.random.default_rng([seed, number]))
        policy.learn(day, chosen, step.rewards)
        yield step


def _step(day: Day, chosen: Ints, rng: np.random.Generator) -> Step:
    """Draws what happens and takes notice of it."""
    world, table = day.world, day.table
    luck = rng.random((4, len(world)))
    users = np.flatnonzero(day.there & (chosen > 0))
    chances = day.chances(users, chosen[users])
    clicked, opted_out, muted = _reactions(chances, users, luck)
    came = ~clicked & ~opted_out & (luck[3] < world.visit_chances) & day.there
    values = np.where(day.there, world.silence_values(day.users), 0.0)
    values[users] = world.send_values(chances, table.channels[chosen[users] - 1])
    _take_effect(day, users, chosen[users], opted_out, muted)
    sent = np.zeros(len(world), dtype=np.bool_)
    sent[users] = True
    outcome = np.select([clicked, opted_out, came], [0, 1, 2], 3)
    ways = np.where(sent, table.channels[chosen - 1], len(world.channels))
    rewards = np.where(day.there, world.worths[ways, outcome], 0.0)
    return Step(
        there=day.there, sent=sent, visited=clicked | came, opted_out=opted_out, expected=values, rewards=rewards
    )


def _reactions(chances: Chances, users: Ints, luck: Floats) -> tuple[Bools, Bools, Bools]:
    """Who clicked, opted out and muted, each of shape (n,), after sends to these users."""
    clicked, opted_out, muted = np.zeros((3, luck.shape[1]), dtype=np.bool_)
    clicked[users] = luck[0, users] < chances.click
    opted_out[users] = ~clicked[users] & (luck[1, users] < chances.opt_out)
    muted[users] = ~clicked[users] & ~opted_out[users] & (luck[2, users] < chances.mute)
    return clicked, opted_out, muted


def _take_effect(day: Day, users: Ints, places: Ints, opted_out: Bools, muted: Bools) -> None:
    """Remembers the sends, and who left or muted the channel of theirs."""
    state, channels = day.state, day.table.channels[places - 1]
    state.send(day.world.preset.pressure, users, day.table.contents[places - 1], day.number)
    state.left[users, channels] |= opted_out[users]
    state.muted[users, channels] |= muted[users]
