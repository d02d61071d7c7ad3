"""Rows of a log for an evaluation, in float64: they are checked here, and nowhere else."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bandit.errors import InvalidLog, InvalidPropensity, SendoptError
from sim.common.arrays import Floats, Ints

ABOVE_ONE = 1e-6  # a probability of 32 bits may exceed 1 by so much, and is 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Logged decisions with the probabilities of the logged action, all of shape (n,)."""

    rewards: Floats  # finite, within the bounds that `checked_batch` was given
    propensities: Floats  # in (0, 1]: the logging policy's
    target_propensities: Floats  # in [0, 1]: the target policy's
    groups: Ints  # cluster of each row, from 0
    q_logged: Floats | None  # the reward model's value of the logged action
    q_target: Floats | None  # the same integrated over the target's pmf
    unlogged_mass: Floats | None  # in [0, 1]: the target's probability of actions that the logger never takes here
    given_weights: Floats | None = None  # instead of the ratio: those of the pseudo-inverse, which may be negative

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def weights(self) -> Floats:
        """The importance weights: target over logging probability, unless others were given."""
        ratio = self.target_propensities / self.propensities
        return ratio if self.given_weights is None else self.given_weights


def checked_batch(
    *,
    rewards: ArrayLike,
    propensities: ArrayLike,
    target_propensities: ArrayLike,
    groups: Ints,
    reward_bounds: tuple[float, float],
    q_logged: ArrayLike | None = None,
    q_target: ArrayLike | None = None,
    unlogged_mass: ArrayLike | None = None,
    first_row: int = 0,
) -> Batch:
    """The rows, after checking that each keeps every rule.

    Args:
        first_row: number of the first row in the whole log, for messages.

    Raises:
        InvalidPropensity: a probability is NaN or outside its range; names array, row and rule.
        InvalidLog: no rows, wrong shapes, a reward outside the bounds, a value that is not finite, half a reward model.
    """
    if (q_logged is None) != (q_target is None):
        raise InvalidLog("q_logged and q_target come from one reward model: give both or neither")
    n = np.size(rewards)
    if n == 0:
        raise InvalidLog("rewards: the log has no rows; there must be at least 1")
    check = _Check(n=n, first_row=first_row)
    low, high = reward_bounds
    return Batch(
        rewards=check.within("rewards", rewards, low, high, f"within the reward bounds [{low:g}, {high:g}]"),
        propensities=check.propensities("propensities", propensities),
        target_propensities=check.probabilities("target_propensities", target_propensities),
        groups=groups,
        q_logged=None if q_logged is None else check.finite("q_logged", q_logged),
        q_target=None if q_target is None else check.finite("q_target", q_target),
        unlogged_mass=None if unlogged_mass is None else check.probabilities("unlogged_mass", unlogged_mass),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    n: int
    first_row: int

    def within(
        self, name: str, given: ArrayLike, low: float, high: float, rule: str, error: type[SendoptError] = InvalidLog
    ) -> Floats:
        values = np.asarray(given, dtype=np.float64)
        if values.shape != (self.n,):
            raise InvalidLog(f"{name} has the shape {values.shape}: it must be ({self.n},), as rewards has")
        # min and max return NaN if a value is NaN, and no comparison with NaN is true.
        if not (low <= values.min() and values.max() <= high):
            row = int(np.argmin((values >= low) & (values <= high)))
            raise error(f"{name}, row {self.first_row + row}: {values[row]} must be {rule}")
        return values

    def propensities(self, name: str, given: ArrayLike) -> Floats:
        return self._up_to_one(name, given, float(np.nextafter(0.0, 1.0)), "a probability in (0, 1]")

    def probabilities(self, name: str, given: ArrayLike) -> Floats:
        return self._up_to_one(name, given, 0.0, "a probability in [0, 1]")

    def _up_to_one(self, name: str, given: ArrayLike, least: float, rule: str) -> Floats:
        values = self.within(name, given, least, 1.0 + ABOVE_ONE, rule, InvalidPropensity)
        return np.minimum(values, 1.0) if values.max() > 1.0 else values

    def finite(self, name: str, given: ArrayLike) -> Floats:
        largest = float(np.finfo(np.float64).max)
        return self.within(name, given, -largest, largest, "finite")
