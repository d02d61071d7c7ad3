"""Bounds on the value of a policy that use the bounds of the reward, for logs where a normal interval is too narrow.

All are about plain importance weighting, with users as independent draws, from the sums of the users alone:

- `cressie_read`: empirical likelihood. The target's value is tilted towards weights whose mean is 1, with one more
  user, whom the log may have missed, at the worst weight and reward. Wide, up to the whole range, if the log says
  little; asymptotic.
- `empirical_bernstein`: valid at any n, for rewards that are spread over their range.
- `betting`: valid at any n, and for all looks together if each look adds whole users. It needs no bound on the weights,
  so it is useful for a reward of 0.5 % with weights of some hundred.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import optimize, stats

from sim.common.arrays import Floats
from sim.ope.sums import Sums

BETS = np.geomspace(1e-6, 0.99, 40)  # stakes, as shares of the largest stake that cannot go broke
ROOT_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of the target's value, each within the bounds of the reward."""

    lower: float
    upper: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """Sums of each user with the reward scaled to [0, 1]; each of shape (n_clusters,)."""

    rows: Floats
    weights: Floats
    weighted: Floats
    largest_weight: float  # largest weight that a row can have

    def reflected(self) -> Self:
        """The same with 1 - reward instead of the reward: an upper bound is 1 minus a lower bound of this."""
        return type(self)(
            rows=self.rows,
            weights=self.weights,
            weighted=np.maximum(self.weights - self.weighted, 0.0),
            largest_weight=self.largest_weight,
        )


def policy_value_bounds(sums: Sums, confidence: float) -> dict[str, Bounds]:
    """Two-sided bounds on the target's value by method. No row weighs more than 1 / the smallest propensity."""
    low, high = sums.reward_bounds
    users = _users(sums)
    pairs = {
        "cressie_read": cressie_read(users, confidence),
        "empirical_bernstein": _both_ends(empirical_bernstein_lower, users, confidence),
        "betting": _both_ends(betting_lower, users, confidence),
    }
    return {
        name: Bounds(lower=low + (high - low) * lower, upper=low + (high - low) * upper, method=name)
        for name, (lower, upper) in pairs.items()
    }


def _users(sums: Sums) -> Users:
    low, high = sums.reward_bounds
    groups = sums.by_group()
    return Users(
        rows=groups["n"],
        weights=groups["weight"],
        weighted=np.maximum((groups["weighted"] - low * groups["weight"]) / (high - low), 0.0),
        largest_weight=1.0 / sums.weights.smallest_propensity,
    )


def _both_ends(lower: Callable[[Users, float], float], users: Users, confidence: float) -> tuple[float, float]:
    """Both ends, each with half of the error probability. The upper end uses that the mean weight is 1."""
    one_sided = (1.0 + confidence) / 2.0
    bottom = lower(users, one_sided)
    return bottom, max(bottom, 1.0 - lower(users.reflected(), one_sided))


def cressie_read(users: Users, confidence: float) -> tuple[float, float]:
    """Ends of the Euclidean empirical likelihood interval (Cressie-Read of power -2).

    Source: Karampatziakis, Langford and Mineiro (2020), Empirical likelihood for contextual bandits; here with users
    instead of rows, so the value is a ratio and the interval the solution of a quadratic equation.
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
    """The interval if the log has missed one user of average length with this weight and reward."""
    length = float(users.rows.mean())
    rows = np.append(users.rows, length)
    excess = np.append(users.weights, weight * length) - rows
    weighted = np.append(users.weighted, weight * reward * length)
    if not np.any(excess - excess.mean()):
        return _ratio_interval(weighted, rows, confidence)
    return _ratio_interval(_given(weighted, excess), _given(rows, excess), confidence)


def _given(values: Floats, excess: Floats) -> Floats:
    """The values minus the part that the weights explain, because the mean of the weights is known to be 1."""
    centred = excess - excess.mean()
    return np.asarray(values - (values @ centred) / (centred @ centred) * excess, dtype=np.float64)


def _ratio_interval(over: Floats, under: Floats, confidence: float) -> tuple[float, float]:
    """Fieller's interval of the ratio of two means; unbounded if the mean of the denominator may be 0."""
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
    """A lower bound on the value that is valid for any number of users, if a user's sum is bounded.

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


def betting_lower(users: Users, confidence: float) -> float:
    """A lower bound on the value: the smallest value against which betting has not made a fortune.

    For a guessed value v, a gambler stakes a fixed share on a user's weighted reward being above v times the user's
    rows. If v is true, the expected fortune does not grow, whatever the bets are. So the average over a set of bets
    exceeds 1 / (1 - confidence) with probability at most 1 - confidence, at any time.

    Source: Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro (2024), Anytime-valid off-policy inference for
    contextual bandits; mixed over fixed bets, so that the order of the users does not matter.
    """
    threshold = -np.log(1.0 - confidence)
    log_fortune = _log_fortune_of(users)
    if log_fortune(ROOT_TOLERANCE) < threshold:
        return 0.0
    if log_fortune(1.0) >= threshold:
        return 1.0
    root = optimize.brentq(lambda value: log_fortune(value) - threshold, ROOT_TOLERANCE, 1.0, xtol=ROOT_TOLERANCE)
    return float(root)


def _log_fortune_of(users: Users) -> Callable[[float], float]:
    """The logarithm of the mixed fortune against a guessed value.

    Bets are shares of the possible loss on a user without reward. Such users, who are the vast majority if rewards are
    rare, then lose the same whatever the value is, so they are computed only once.
    """
    lengths = users.rows / users.rows.max()
    earned = users.weighted > 0.0
    lost = [np.log1p(-share * lengths[~earned]).sum() for share in BETS]
    gained, length = users.weighted[earned] / users.rows.max(), lengths[earned]

    def log_fortune(value: float) -> float:
        logs = [
            rest + np.log1p(share * (gained / value - length)).sum() for share, rest in zip(BETS, lost, strict=True)
        ]
        return float(np.logaddexp.reduce(logs) - np.log(len(BETS)))

    return log_fortune
