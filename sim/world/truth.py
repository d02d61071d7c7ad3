"""The long-run value of a policy, by simulation, and the references that know the truth.

Immediate truth is exact (`World.expected_rewards`, `Day.values`). The effect of a policy over weeks (fatigue,
habituation, opt-outs) is measured by simulation (`sim.world.daily`): the same seeds give two policies the same luck,
and users are independent of one another, so means and differences have the standard error of a mean over users.

    Constant      one send, again and again, every so many days
    Paced         the best send of the day, to user u every gap_u days, if it is worth sending now
    best_fixed    the Constant without a gap of the highest reward in the long run
    best_capped   the same with the gap searched as well
    far_sighted   the Paced whose gap_u, for each user, earned most in the long run, found by trying every gap
    MYOPIC        the Paced without any gap: the oracle of the moment

A myopic oracle takes every small gain and pays for it later; the far-sighted reference shows how much that costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.common.arrays import Floats, Ints
from sim.common.means import Mean, clustered_mean
from sim.world.daily import DailyPolicy, Day, Step, Table, live
from sim.world.state import Bools
from sim.world.world import World

NEVER = np.inf
GAPS = (0.0, 2.0, 3.0, 5.0, 7.0, 14.0, 28.0, NEVER)  # days between two sends; 0: no gap
SEARCH_LUCK = 2**31  # added to the seed
SEARCHED_SENDS = 3  # sends with the highest reward today, whose frequency is searched


class Constant:
    """The same send to everybody, with a fixed number of days between; silence if it is not eligible."""

    def __init__(self, place: int, gap_days: float) -> None:
        """
        Args:
            place: in the table of actions.
        """
        self.place, self.gap_days = place, gap_days

    def choose(self, day: Day) -> Ints:
        free = day.eligible_at(np.full(len(day.users), self.place)) & is_time(day.days_since_any, self.gap_days)
        return np.where(free, self.place, 0)

    def learn(self, _day: Day, _chosen: Ints, _rewards: Floats) -> None:
        """It knows already."""


class Paced:
    """The send with the highest expected reward today, but not before the user's gap has passed; otherwise silence."""

    def __init__(self, gaps_days: Floats) -> None:
        """
        Args:
            gaps_days: shape (n,), or one for all.
        """
        self.gaps_days = gaps_days

    def choose(self, day: Day) -> Ints:
        best = np.concatenate([day.values(users).argmax(axis=1) for users in day.chunks()])
        return np.where(is_time(day.days_since_any, self.gaps_days), best, 0)

    def learn(self, _day: Day, _chosen: Ints, _rewards: Floats) -> None:
        """It knows already."""


def is_time(days_since: float | Floats, gaps_days: float | Floats) -> Bools:
    """Whether the gap has passed; infinite days, if nothing was sent, are enough for every gap except NEVER."""
    return np.greater_equal(days_since, gaps_days) & np.less(gaps_days, NEVER)


MYOPIC = Paced(np.array(0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class LongRun:
    """Results of a policy over weeks: per user, shape (n,), over all rollouts."""

    weeks: Floats  # weeks for which the user was present
    visits: Floats
    sends: Floats
    opt_outs: Floats
    rewards: Floats  # true expected rewards along the simulated history

    def per_week(self, name: str) -> Mean:
        """Mean over users of a quantity per week, with its 95 % interval."""
        return _mean_over_users(self._rates(name))

    def ahead_of(self, other: "LongRun", name: str) -> Mean:
        """Mean difference per user and week to another policy with the same luck, with its 95 % interval."""
        return _mean_over_users(self._rates(name) - other._rates(name))

    def _rates(self, name: str) -> Floats:
        there = self.weeks > 0
        rates: Floats = getattr(self, name)[there] / self.weeks[there]
        return rates


def _mean_over_users(values: Floats) -> Mean:
    return clustered_mean(values, np.arange(len(values)))


def long_run(world: World, policy: DailyPolicy, *, days: int, seeds: Sequence[int]) -> LongRun:
    """The long-run value of a policy, simulated once per seed.

    Args:
        policy: must be the same after every rollout; a policy that learns would improve from seed to seed.
    """
    sums = np.zeros((5, len(world)))
    for seed in seeds:
        for step in live(world, policy, days=days, seed=seed):
            sums += _counts(step)
    weeks, visits, sends, opt_outs, rewards = sums
    weeks *= world.preset.round_days / 7
    return LongRun(weeks=weeks, visits=visits, sends=sends, opt_outs=opt_outs, rewards=rewards)


def _counts(step: Step) -> Floats:
    return np.stack([step.there, step.visited, step.sent, step.opted_out, step.expected]).astype(np.float64)


def best_fixed(world: World, *, days: int, seed: int) -> Constant:
    """Of the best sends of the first day, the one with the highest long-run reward if it is always sent."""
    return _best_constant(world, (0.0,), days=days, seed=seed)


def best_capped(world: World, *, days: int, seed: int) -> Constant:
    """Of the best sends of the first day, each with every gap, the one with the highest long-run reward."""
    return _best_constant(world, GAPS, days=days, seed=seed)


def _best_constant(world: World, gaps: Sequence[float], *, days: int, seed: int) -> Constant:
    tried = [Constant(place, gap) for place in _promising(world) for gap in gaps]
    rewards = [long_run(world, one, days=days, seeds=[SEARCH_LUCK + seed]).rewards.sum() for one in tried]
    return tried[int(np.argmax(rewards))]


def _promising(world: World) -> list[int]:
    """Places of the sends with the highest mean reward from rested users."""
    day = Day(world, Table.of(world), world.new_state(), 0)
    sums = np.zeros(len(day.table) - 1)
    for users in day.chunks():
        chances = day.chances(users[:, None], np.arange(1, len(day.table))[None, :])
        sums += world.send_values(chances, day.table.channels[None, :]).sum(axis=0)
    return [1 + int(place) for place in np.argsort(-sums)[:SEARCHED_SENDS]]


def far_sighted(world: World, *, days: int, seed: int) -> Paced:
    """Each user's best send of the day, with the gap at which this user earned most in the long run.

    The search uses other random numbers than seeds below 2^31, so that its value can be measured with those without
    bias.
    """
    luck = [SEARCH_LUCK + seed]
    tried = [long_run(world, Paced(np.array(gap)), days=days, seeds=luck).rewards for gap in GAPS]
    return Paced(np.array(GAPS)[np.argmax(tried, axis=0)])
