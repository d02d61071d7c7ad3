"""The effects of sends on users so far: fatigue, habituation, novelty, channels left and muted.

With the sends of user u at the days t_i (of the decisions), at day t:

    F_u(t) = sum over i of exp(-(t - t_i) / FATIGUE_DAYS)            felt sends
    H_u(t) = sum over i of exp(-(t - t_i) / HABITUATION_DAYS)        remembered sends
    d_um   = days since u last got content m, infinite if never

    burden_u(t)   = sensitivity_u FATIGUE F_u(t) + HABITUATION (1 - exp(-H_u(t) / HABITUATION_SENDS))
    staleness_um(t) = NOVELTY 0.5^(d_um / HALF_LIFE_DAYS)

both in log-odds, subtracted from those of a response. The staleness is the penalty of Duolingo's recovering bandit,
s* = s - gamma 0.5^(d/h) (Yancey and Settles, 2020). The words in capitals are `sim.world.laws.Pressure`.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sim.common.arrays import Floats, Ints
from sim.world.laws import Pressure

Bools = NDArray[np.bool_]


class Past(Protocol):
    """What was sent to users, as far as it changes what they do."""

    def felt_sends(self, law: Pressure, users: Ints, day: float | Floats) -> Floats:
        """F of these users."""

    def remembered_sends(self, law: Pressure, users: Ints, day: float | Floats) -> Floats:
        """H of these users."""

    def staleness(self, law: Pressure, users: Ints, contents: Ints, day: float | Floats) -> Floats:
        """By how much a repeated content is worth less, in log-odds; the places broadcast together."""

    def hears(self, users: Ints, channels: Ints) -> Bools:
        """Whether a send on the channel reaches the user; the places broadcast together."""


class State:
    """The state of the users of one run, which the run changes.

    Times are days of the world, and must not decrease for a user.
    """

    def __init__(self, n_users: int, n_channels: int, n_contents: int) -> None:
        self.felt, self.remembered = np.zeros(n_users), np.zeros(n_users)
        self.last_sent_any = np.full(n_users, -np.inf)
        self.last_sent = np.full((n_users, n_contents), -np.inf)
        self.left = np.zeros((n_users, n_channels), dtype=np.bool_)
        self.muted = np.zeros((n_users, n_channels), dtype=np.bool_)

    def felt_sends(self, law: Pressure, users: Ints, day: float | Floats) -> Floats:
        """F of these users."""
        felt: Floats = self.felt[users] * np.exp((self.last_sent_any[users] - day) / law.fatigue_days)
        return felt

    def remembered_sends(self, law: Pressure, users: Ints, day: float | Floats) -> Floats:
        """H of these users."""
        past: Floats = self.remembered[users] * np.exp((self.last_sent_any[users] - day) / law.habituation_days)
        return past

    def staleness(self, law: Pressure, users: Ints, contents: Ints, day: float | Floats) -> Floats:
        """By how much a repeated content is worth less, in log-odds; the places broadcast together."""
        days = day - self.last_sent[users, contents]
        lost: Floats = law.novelty * 0.5 ** (days / law.half_life_days)
        return lost

    def hears(self, users: Ints, channels: Ints) -> Bools:
        """Whether the user has not muted the channel; the places broadcast together."""
        heard: Bools = ~self.muted[users, channels]
        return heard

    def send(self, law: Pressure, users: Ints, contents: Ints, day: float | Floats) -> None:
        """Takes notice of one send to each of these users, no two of whom are the same."""
        self.felt[users] = self.felt_sends(law, users, day) + 1.0
        self.remembered[users] = self.remembered_sends(law, users, day) + 1.0
        self.last_sent_any[users] = day
        self.last_sent[users, contents] = day


def habituation(law: Pressure, remembered: Floats) -> Floats:
    """Penalty for a user who is used to the messages, in log-odds."""
    lost: Floats = -law.habituation * np.expm1(-remembered / law.habituation_sends)
    return lost
