"""Bounds on the value of a policy that use the bounds of the reward, for logs where a normal interval is too bold.

All are about plain importance weighting, with users as independent draws, from the sums of the users alone:

- `cressie_read`: empirical likelihood. The target's value is tilted towards weights whose mean is 1, and one more user
  that the log may have missed is counted in at the worst weight and reward. Wide, up to the whole range, when the log
  says little; asymptotic.
- `empirical_bernstein`: holds at any n, for rewards spread over their range.
- `betting`: holds at any n, and at all looks together if each look adds whole users. Its lower end needs no bound on
  the weights, so that it is useful for a reward of 0.5 % under weights of hundreds (see `sim.ope.betting`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from scipy import stats

from sim.common.arrays import Floats
from sim.ope.betting import Stakes, log_fortune, lower_bound
from sim.ope.sums import Sums

Method = Literal["cressie_read", "empirical_bernstein", "betting"]
METHODS: tuple[Method, ...] = ("cressie_read", "empirical_bernstein", "betting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Where the value of the target lies, each end within the bounds of the reward."""

    lower: float
    upper: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Sums of each user with the reward scaled to [0, 1]; each of shape (n_clusters,)."""

    rows: Floats
    weights: Floats
    weighted: Floats
    largest_weight: float  # that a row can have

    def reflected(self) -> Self:
        """The same with 1 - reward for the reward: an upper bound is one less a lower bound of this."""
        return type(self)(
            rows=self.rows,
            weights=self.weights,
            weighted=np.maximum(self.weights - self.weighted, 0.0),
            largest_weight=self.largest_weight,
        )


def policy_value_bounds(sums: Sums, confidence: float, *, methods: Sequence[Method] = METHODS) -> dict[str, Bounds]:
    """Two-sided bounds on the target's value by method. No row weighs more than 1 / the smallest propensity."""
    users = users_of(sums)
    pairs: dict[Method, Callable[[], tuple[float, float]]] = {
        "cressie_read": lambda: cressie_read(users, confidence),
        "empirical_bernstein": lambda: _both_ends(empirical_bernstein_lower, users, confidence),
        "betting": lambda: betting(users, confidence),
    }
    return {name: _scaled(sums, *pairs[name](), method=name) for name in methods}


def _scaled(sums: Sums, lower: float, upper: float, *, method: str) -> Bounds:
    """In units of the reward. What the logger never takes may be worth anything between its bounds."""
    low, high = sums.reward_bounds
    upper = min(1.0, upper + sums.unlogged_share)
    return Bounds(lower=low + (high - low) * lower, upper=low + (high - low) * upper, method=method)


def users_of(sums: Sums) -> Users:
    """What the bounds need of the sums."""
    groups = sums.by_group()
    return Users(
        rows=groups["n"],
        weights=groups["weight"],
        weighted=np.maximum(sums.scaled_weighted(), 0.0),
        largest_weight=1.0 / sums.weights.smallest_propensity,
    )


def _both_ends(lower: Callable[[Users, float], float], users: Users, confidence: float) -> tuple[float, float]:
    """Each end at half the error. The upper end uses that the mean weight is 1."""
    one_sided = (1.0 + confidence) / 2.0
    bottom = lower(users, one_sided)
    return bottom, max(bottom, 1.0 - lower(users.reflected(), one_sided))


def cressie_read(users: Users, confidence: float) -> tuple[float, float]:
    """Ends of the Euclidean empirical likelihood interval (Cressie-Read of power -2).

    Source: Karampatziakis, Langford and Mineiro (2020), Empirical likelihood for contextual bandits; here with users
    for rows, which makes the value a ratio and the interval the solution of a quadratic.
    """
    lows, highs = zip(
        *(
            _with_one_more(users, confidence, weight, reward)
            for weight in (0.0, users.largest_weight)
            for reward in (0.0, 1.0)
        ),
        strict=True,
    )
    return float(np.clip(min(lows), 0.0, 1.0)), float(np.clip(max(highs), 0.0, 1.0))


def _with_one_more(users: Users, confidence: float, weight: float, reward: float) -> tuple[float, float]:
    """The interval when the log has missed one user of average length with this weight and reward."""
    length = float(users.rows.mean())
    rows = np.append(users.rows, length)
    excess = np.append(users.weights, weight * length) - rows
    weighted = np.append(users.weighted, weight * reward * length)
    if not np.any(excess - excess.mean()):
        return _ratio_interval(weighted, rows, confidence)
    return _ratio_interval(_given(weighted, excess), _given(rows, excess), confidence)


def _given(values: Floats, excess: Floats) -> Floats:
    """The values with what the weights explain taken out, as far as the weights' mean is known to be 1."""
    centred = excess - excess.mean()
    return np.asarray(values - (values @ centred) / (centred @ centred) * excess, dtype=np.float64)


def _ratio_interval(over: Floats, under: Floats, confidence: float) -> tuple[float, float]:
    """Fieller's interval of the ratio of two means; unbounded when the lower mean may be 0."""
    n = len(over)
    level = float(stats.f.isf(1.0 - confidence, 1, n - 1)) / n
    covariance = np.cov(over, under, bias=True)
    a = under.mean() ** 2 - level * covariance[1, 1]
    b = over.mean() * under.mean() - level * covariance[0, 1]
    c = over.mean() ** 2 - level * covariance[0, 0]
    if a <= 0.0:
        return -np.inf, np.inf
    reach = np.sqrt(max(0.0, b * b - a * c))
    return float((b - reach) / a), float((b + reach) / a)


def empirical_bernstein_lower(users: Users, confidence: float) -> float:
    """A lower bound on the value that holds at any number of users, when a user's sum is bounded.

    Source: Maurer and Pontil (2009), Empirical Bernstein bounds and sample variance penalisation, theorem 4.
    """
    n = len(users.rows)
    if n < 2:
        return 0.0
    values = users.weighted / users.rows.mean()
    span = users.largest_weight * users.rows.max() / users.rows.mean()
    log_term = np.log(2.0 / (1.0 - confidence))
    slack = np.sqrt(2.0 * values.var(ddof=1) * log_term / n) + 7.0 * span * log_term / (3.0 * (n - 1))
    return float(np.clip(values.mean() - slack, 0.0, 1.0))


def betting(users: Users, confidence: float) -> tuple[float, float]:
    """Both ends at half the error. The upper end bets half of its stake on the sums of w r being small, and half on
    those of w (1 - r) being large, which uses that the mean weight is 1: the former is better when rewards are rare.
    """
    one_sided = (1.0 + confidence) / 2.0
    stakes = _stakes(users)
    bottom = lower_bound([log_fortune(stakes)], one_sided, 0.0, 1.0)
    # Against w r being larger the boldest bet is the best one, as far as rewards are rare.
    small, unrewarded = log_fortune(stakes.turned, boldest=0.5), log_fortune(_stakes(users.reflected()))
    # Both as bets on minus the value, and the value of 1 - r is 1 less the value.
    fortunes = [small, lambda minus: unrewarded(1.0 + minus)]
    return bottom, max(bottom, -lower_bound(fortunes, one_sided, -1.0, 0.0))


def _stakes(users: Users) -> Stakes:
    return Stakes(sums=users.weighted, rows=users.rows, least=0.0, most=users.largest_weight)
