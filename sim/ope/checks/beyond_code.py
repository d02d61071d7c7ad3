"""Do actions of one embedding code earn the same? What marginal weights (MIPS) rest on, as a test.

Given the code and the context, the logger's draw among the actions of the code is independent of the reward unless the
action matters beyond its code. So the sum over rows of (drawn - probability within the code) times reward has a mean of
zero.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bandit.errors import InvalidLog
from sim.common.arrays import Floats, Ints

CLUSTERS_A_DEGREE = 10  # with fewer, the covariance is not known well enough: rare actions are left out


def beyond_code_p_value(
    *, rewards: Floats, logging_pmf: ArrayLike, codes: ArrayLike, actions: ArrayLike, groups: Ints
) -> float:
    """Probability of actions of one code differing so much by chance; 1 where no code has two logged actions.

    Args:
        rewards: shape (n,).
        logging_pmf: shape (n, n_actions).
        codes: shape (n_actions,), the code of each action.
        actions: shape (n,), logged.
        groups: shape (n,), cluster of each row, from 0.

    Raises:
        InvalidLog: other shapes.
    """
    pmf, code_of, drawn = np.asarray(logging_pmf, dtype=np.float64), np.asarray(codes), np.asarray(actions)
    if pmf.shape != (len(rewards), len(code_of)):
        raise InvalidLog(f"codes has the shape {code_of.shape}: it must be ({pmf.shape[-1]},), a code for each action")
    same = code_of[None, :] == code_of[drawn][:, None]
    within = np.where(same, pmf, 0.0)
    within /= within.sum(axis=1, keepdims=True)
    surplus = -within
    surplus[np.arange(len(drawn)), drawn] += 1.0
    scores = surplus * _centred(rewards, code_of[drawn])[:, None]
    n_groups = int(groups.max()) + 1
    kept = np.argsort(-within.sum(axis=0))[: max(1, n_groups // CLUSTERS_A_DEGREE)]
    columns = [np.bincount(groups, weights=scores[:, one], minlength=n_groups) for one in kept]
    by_group = np.asarray(np.stack(columns), dtype=np.float64)
    return _wald(np.asarray(by_group.sum(axis=1), dtype=np.float64), by_group @ by_group.T)


def _centred(rewards: Floats, codes: Ints) -> Floats:
    _, place = np.unique(codes, return_inverse=True)
    means = np.bincount(place, weights=rewards) / np.bincount(place)
    return np.asarray(rewards - means[place], dtype=np.float64)


def _wald(total: Floats, covariance: Floats) -> float:
    freedom = int(np.linalg.matrix_rank(covariance, hermitian=True))
    if freedom == 0:
        return 1.0
    return float(stats.chi2.sf(total @ np.linalg.pinv(covariance, hermitian=True) @ total, df=freedom))
