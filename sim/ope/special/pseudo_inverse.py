"""The pseudo-inverse estimator for decisions that have parts (channel x content x time), and a test of its assumption.

It is unbiased if the reward is a sum of one term per part; then each part must be logged often, but not each
combination. The test says whether parts interact.

Source: Swaminathan et al. (2017), Off-policy evaluation for slate recommendation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bandit.errors import InvalidLog, InvalidPropensity
from sim.common.arrays import Floats, Ints
from sim.common.means import Mean, clustered_mean
from sim.ope.groups import user_groups

RANK_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Additivity:
    """A test whether parts of a decision interact: a small p-value is evidence against the pseudo-inverse estimator."""

    statistic: float  # Wald, clustered by user
    degrees_of_freedom: int
    p_value: float


def part_indicators(parts: ArrayLike) -> Floats:
    """Which part values each action has, shape (n_actions, values of all parts together).

    Args:
        parts: shape (n_actions, n_parts): a code or name for each part of each action. Silence is an action with part
            values of its own.
    """
    table = np.asarray(parts)
    return np.concatenate(
        [(column[:, None] == np.unique(column)[None, :]).astype(np.float64) for column in table.T], axis=1
    )


def pseudo_inverse_weights(
    *, logging_pmf: ArrayLike, target_pmf: ArrayLike, parts: ArrayLike, actions: ArrayLike
) -> Floats:
    """The weight of each logged reward, shape (n,); may be negative, and has mean 1.

    Args:
        logging_pmf: shape (n, n_actions), over the eligible set of each row, 0 elsewhere.
        target_pmf: shape (n, n_actions).
        parts: shape (n_actions, n_parts).
        actions: shape (n,), logged.

    Raises:
        InvalidPropensity: the target uses a part value that the logger never uses in that row; names the row.
    """
    indicators = part_indicators(parts)
    logging, target = np.asarray(logging_pmf, dtype=np.float64), np.asarray(target_pmf, dtype=np.float64)
    wanted = target @ indicators
    covariance = np.einsum("na,ap,aq->npq", logging, indicators, indicators, optimize=True)
    solved = np.einsum(
        "npq,nq->np", np.linalg.pinv(covariance, rcond=RANK_TOLERANCE, hermitian=True), wanted, optimize=True
    )
    reached = np.einsum("npq,nq->np", covariance, solved)
    lost = np.abs(reached - wanted).max(axis=1) > np.sqrt(RANK_TOLERANCE)
    if lost.any():
        raise InvalidPropensity(
            f"logging_pmf, row {int(np.argmax(lost))}: the target uses a part, or a mix of parts, that is never logged"
        )
    return np.asarray(np.sum(solved * indicators[np.asarray(actions, dtype=np.intp)], axis=1), dtype=np.float64)


def pseudo_inverse_value(rewards: ArrayLike, weights: Floats, users: ArrayLike | None = None) -> Mean:
    """The target's value per decision with its 95 % interval, clustered by user if users are given."""
    groups, _ = user_groups(users, len(weights))
    return clustered_mean(np.asarray(rewards, dtype=np.float64) * weights, groups)


def additivity_test(
    *, rewards: ArrayLike, parts: ArrayLike, actions: ArrayLike, users: ArrayLike | None = None
) -> Additivity:
    """A test whether any two parts interact.

    Args:
        rewards: shape (n,).
        parts: shape (n_actions, n_parts).
        actions: shape (n,), logged.
        users: shape (n,), clusters.

    Raises:
        InvalidLog: the logged actions have no interaction that could be tested.

    Source: a Wald test with the clustered covariance of Liang and Zeger (1986), with the factor G / (G - 1).
    """
    logged = np.asarray(parts)[np.asarray(actions, dtype=np.intp)]
    main = _independent(part_indicators(logged), None)
    pairs = _independent(_interactions(logged), main)
    if pairs.shape[1] == 0:
        raise InvalidLog("actions: no two parts of the logged actions vary together, so there is nothing to test")
    groups, n_groups = user_groups(users, len(logged))
    design = np.concatenate([main, pairs], axis=1)
    coefficients = design.T @ np.asarray(rewards, dtype=np.float64)  # columns are orthonormal
    residuals = np.asarray(rewards, dtype=np.float64) - design @ coefficients
    scores = np.stack([np.bincount(groups, weights=column * residuals, minlength=n_groups) for column in pairs.T])
    tested = coefficients[main.shape[1] :]
    covariance = scores @ scores.T * n_groups / (n_groups - 1)
    statistic = float(tested @ np.linalg.pinv(covariance, hermitian=True) @ tested)
    freedom = int(np.linalg.matrix_rank(covariance, hermitian=True))
    return Additivity(
        statistic=statistic, degrees_of_freedom=freedom, p_value=float(stats.chi2.sf(statistic, df=freedom))
    )


def _interactions(logged: Ints) -> Floats:
    columns = logged.T
    return np.concatenate(
        [
            _products(part_indicators(one[:, None]), part_indicators(other[:, None]))
            for place, one in enumerate(columns)
            for other in columns[place + 1 :]
        ],
        axis=1,
    )


def _products(one: Floats, other: Floats) -> Floats:
    return np.asarray(one[:, :, None] * other[:, None, :], dtype=np.float64).reshape(len(one), -1)


def _independent(columns: Floats, beside: Floats | None) -> Floats:
    """An orthonormal basis of the span of the columns, without the span of `beside`, which is orthonormal."""
    left = columns if beside is None else columns - beside @ (beside.T @ columns)
    vectors, sizes, _ = np.linalg.svd(left, full_matrices=False)
    return np.asarray(vectors[:, sizes > np.linalg.norm(columns) * RANK_TOLERANCE], dtype=np.float64)
