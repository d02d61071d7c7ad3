"""Bounds on a mean that hold at any number of users, because against the true mean no fortune can be made.

For a guessed value v, a gambler stakes a fixed share on a user's sum being above (or below) v times the user's rows.
If v is true the fortune is not expected to grow, whatever was bet, so the average over a set of bets exceeds 1 / alpha
with probability at most alpha, at any time. The bound is the first value against which no such fortune was made.

Source: Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro (2024), Anytime-valid off-policy inference for contextual
bandits; mixed over fixed bets, so that the order of the users does not matter.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from sim.common.arrays import Floats

BETS = np.geomspace(1e-6, 0.99, 40)  # shares of the stake, as of the largest that cannot go broke
ROOT_TOLERANCE = 1e-10
_CELLS_AT_ONCE = 1 << 18
LogFortune = Callable[[float], float]  # of the mixed bets against a guessed value


@dataclass(frozen=True, slots=True, kw_only=True)
class Stakes:
    """Sums of each user and how many rows each has, both of shape (n_clusters,), every row within [least, most]."""

    sums: Floats
    rows: Floats
    least: float
    most: float

    @property
    def turned(self) -> "Stakes":
        """The same with the sign changed: an upper bound is minus a lower bound of this."""
        return Stakes(sums=-self.sums, rows=self.rows, least=-self.most, most=-self.least)


def betting_interval(stakes: Stakes, confidence: float, *, low: float, high: float) -> tuple[float, float]:
    """Bounds on mean sum over mean rows of users, each end at half the error, cut to [low, high]."""
    one_sided = (1.0 + confidence) / 2.0
    lower = lower_bound([log_fortune(stakes)], one_sided, low, high)
    return lower, -lower_bound([log_fortune(stakes.turned)], one_sided, -high, -low)


def lower_bound(fortunes: list[LogFortune], confidence: float, low: float, high: float) -> float:
    """The smallest value in [low, high] against which the average of the fortunes stays below 1 / (1 - confidence)."""
    threshold = -np.log(1.0 - confidence) + np.log(len(fortunes))

    def too_rich(value: float) -> float:
        return float(np.logaddexp.reduce([one(value) for one in fortunes])) - float(threshold)

    least = low + (high - low) * ROOT_TOLERANCE
    if too_rich(least) < 0.0:
        return low
    if too_rich(high) >= 0.0:
        return high
    return float(optimize.brentq(too_rich, least, high, xtol=(high - low) * ROOT_TOLERANCE))


def log_fortune(stakes: Stakes, *, boldest: float = 1.0 / len(BETS)) -> LogFortune:
    """The logarithm of the fortune that bets on the sums being above a guessed value would have made.

    Bets are shares of what a user whose rows all have the least value can lose. Such users, by far the most when
    rewards are rare, then cost the same whatever the value, so they are counted once.

    Args:
        boldest: share of the money that goes on the largest bet; the rest is spread evenly.
    """
    longest = float(stakes.rows.max())
    lengths = stakes.rows / longest
    above_least = np.maximum(stakes.sums / longest - stakes.least * lengths, 0.0)
    earned = above_least > 0.0
    shares = np.log(np.append(np.full(len(BETS) - 1, (1.0 - boldest) / (len(BETS) - 1)), boldest))
    idle, idle_counts = np.unique(lengths[~earned], return_counts=True)
    lost = np.log1p(-np.outer(BETS, idle)) @ idle_counts
    # Users with the same sums and rows bet the same: in most logs there are few kinds.
    kinds, counts = np.unique(above_least[earned] + 1j * lengths[earned], return_counts=True)

    def fortune(value: float) -> float:
        gains = kinds.real / max(value - stakes.least, np.finfo(np.float64).tiny) - kinds.imag
        # All bets at once, as long as they fit the cache.
        at_once = max(1, _CELLS_AT_ONCE // max(1, len(gains)))
        logs = np.concatenate([np.log1p(np.outer(some, gains)) @ counts for some in _parts(BETS, at_once)]) + lost
        return float(np.logaddexp.reduce(logs + shares))

    return fortune


def _parts(values: Floats, length: int) -> list[Floats]:
    return [values[first : first + length] for first in range(0, len(values), length)]
