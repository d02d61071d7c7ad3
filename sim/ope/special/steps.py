"""Per-decision importance sampling: several decisions in a row about the same user, where one changes the next.

A reward is weighted with the probability ratio of all decisions of the user's episode up to its own. Pass the two
results
to `evaluate` as the propensities: the estimate is then the mean reward per decision if the target has made every
decision since the episode began, with the features that result from its own decisions. The variance grows fast with the
length: the effective sample size says when it is too large.

Source: Precup, Sutton and Singh (2000), Eligibility traces for off-policy policy evaluation.
"""

import numpy as np
from numpy.typing import ArrayLike

from bandit.errors import InvalidLog
from sim.common.arrays import Floats, Ints
from sim.ope.groups import user_groups


def step_propensities(
    *, propensities: ArrayLike, target_propensities: ArrayLike, users: ArrayLike, order: ArrayLike, length: int
) -> tuple[Floats, Floats]:
    """Logging and target probability of all decisions of the row's episode up to the row, each (n,).

    A user's rows are divided into episodes of `length`, starting with the first row.

    Args:
        propensities: shape (n,), logging probability of each logged action.
        target_propensities: shape (n,), the target's, given the logged history.
        users: shape (n,).
        order: shape (n,), sorts a user's rows in time.
        length: decisions of an episode, at least 1.

    Raises:
        InvalidLog: a length below 1, or wrong shapes.
    """
    logging, target = np.asarray(propensities, dtype=np.float64), np.asarray(target_propensities, dtype=np.float64)
    if length < 1 or not logging.shape == target.shape == np.shape(order) == (logging.size,):
        raise InvalidLog(
            f"length {length} must be at least 1, and propensities {logging.shape}, target_propensities {target.shape} "
            f"and order {np.shape(order)} of one length"
        )
    groups, _ = user_groups(users, logging.size)
    rows = np.lexsort((np.asarray(order), groups))
    step = _place_in_run(groups[rows]) % length
    return _product_since_start(logging, rows, step, length), _product_since_start(target, rows, step, length)


def _place_in_run(sorted_groups: Ints) -> Ints:
    """0, 1, 2, … within each sequence of equal groups."""
    place = np.arange(len(sorted_groups))
    starts = np.flatnonzero(np.r_[True, sorted_groups[1:] != sorted_groups[:-1]])
    return place - np.repeat(starts, np.diff(np.r_[starts, len(sorted_groups)]))


def _product_since_start(values: Floats, rows: Ints, step: Ints, length: int) -> Floats:
    products = values[rows]
    for done in range(1, min(length, int(step.max(initial=0)) + 1)):
        here = np.flatnonzero(step == done)
        products[here] *= products[here - 1]
    back = np.empty_like(products)
    back[rows] = products
    return back
