"""Duolingo's table: the one-step value of each rule over the histories of a random policy.

Yancey and Settles (KDD 2020) logged a policy that drew evenly among the templates that could be sent, and valued other
rules on that log: random .1295, template .1311, + language .1318, + recency .1320, reuse-last .1289. Here the log is a
world's, the scores are learned from its first days by the formulas of `sim.baselines.recovering`, and a rule's value on
the days after is exact: the sum over its pmf of true expected rewards. No rule changes later days, because all users
follow the choices of the random policy. The world has no languages, so there is no row for language.
"""

from collections.abc import Callable, Mapping

import numpy as np

from sim.baselines.recovering import GAMMA, Difference, recovered, softmax
from sim.common.arrays import Floats, Ints
from sim.world.daily import Day, Table, live
from sim.world.world import World

RANDOM, TEMPLATE, RECENCY, REUSE_LAST = "random", "template", "template + recency", "reuse-last"

Rule = Callable[[Day], Floats]  # pmf over contents, shape (users, contents); none that cannot be sent


def even(day: Day) -> Floats:
    """Every content that can be sent alike."""
    awake = day.eligible(day.users)[:, 1:]
    pmf: Floats = awake / np.maximum(awake.sum(axis=1, keepdims=True), 1)
    return pmf


def reuse_last(day: Day) -> Floats:
    """The content that the user got last, where it can be sent; else every one alike."""
    since = np.where(day.eligible(day.users)[:, 1:], day.days_since, np.inf)
    last, pmf = day.days_since.argmin(axis=1), even(day)
    again = np.isfinite(since[day.users, last])
    pmf[again] = np.eye(pmf.shape[1])[last[again]]
    return pmf


def by_score(scores: Floats, *, gamma: float) -> Rule:
    """The softmax over the contents that can be sent.

    Args:
        scores: shape (contents,).
        gamma: what a content loses right after it was sent; 0 for no recovery.
    """

    def rule(day: Day) -> Floats:
        usable = day.eligible(day.users)[:, 1:]
        usable_or_any = usable | ~usable.any(axis=1, keepdims=True)
        now = recovered(np.broadcast_to(scores, usable.shape), day.days_since, gamma=gamma)
        return softmax(np.where(usable_or_any, now, -np.inf)) * usable

    return rule


class _RandomLog:
    """The random policy: it learns before `from_day`, and values the rules from then on."""

    def __init__(self, scores: Floats | None, gamma: float, from_day: int, contents: int, seed: int) -> None:
        self._given, self._gamma, self._from_day = scores, gamma, from_day
        self._rng = np.random.default_rng([seed, 4])
        self._difference = Difference(contents)
        self.sums: dict[str, float] = {}
        self.sends = 0

    def choose(self, day: Day) -> Ints:
        pmf = even(day)
        drawn = 1 + np.where(pmf > 0, self._rng.random(pmf.shape), -1.0).argmax(axis=1)
        chosen: Ints = np.where(pmf.any(axis=1), drawn, 0)
        if day.number >= self._from_day:
            self._value(day)
            self.sends += int((chosen > 0).sum())
        return chosen

    def _value(self, day: Day) -> None:
        values = day.values(day.users)[:, 1:]
        values = np.where(np.isfinite(values), values, 0.0)
        for name, rule in self._rules().items():
            self.sums[name] = self.sums.get(name, 0.0) + float((rule(day) * values).sum())

    def _rules(self) -> Mapping[str, Rule]:
        scores = self._difference.scores() if self._given is None else self._given
        return {
            RANDOM: even,
            TEMPLATE: by_score(scores, gamma=0.0),
            RECENCY: by_score(scores, gamma=self._gamma),
            REUSE_LAST: reuse_last,
        }

    def learn(self, day: Day, chosen: Ints, rewards: Floats) -> None:
        if day.number < self._from_day:
            pmf = even(day)
            users, contents = np.nonzero(pmf)
            responded = (rewards > 0).astype(np.float64)[users]
            self._difference.add(contents, chosen[users] == contents + 1, pmf[users, contents], responded)


def published_table(
    world: World, *, from_day: int, days: int, seed: int, scores: Floats | None = None, gamma: float = GAMMA
) -> dict[str, float]:
    """The mean reward of a send by each rule, its scores learned from the random policy's log.

    Args:
        world: of one channel and one hour, so that an action is a content.
        from_day: before which scores are learned, and from which the rules are valued.
        days: over which they are valued.
        scores: of the contents, known instead of learned.
        gamma: of the recovery.
    """
    log = _RandomLog(scores, gamma, from_day, len(Table.of(world)) - 1, seed)
    for _ in live(world, log, days=from_day + days, seed=seed):
        pass
    return {name: total / log.sends for name, total in log.sums.items()}
