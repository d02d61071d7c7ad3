"""Marginal importance weights: what matters of an action is its embedding, so actions that share it share their weight.

The pair that comes out goes into `evaluate` as the two propensities: MIPS is IPS with these. It is unbiased when the
action has no effect on the reward except through the embedding, and then far less noisy with many actions.

Source: Saito and Joachims (2022), Off-policy evaluation for large action spaces via embeddings.
"""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.cluster import KMeans

from bandit.errors import InvalidLog
from sim.common.arrays import Floats, Ints


def embedding_codes(embedding: ArrayLike, *, clusters: int | None = None, seed: int = 0) -> Ints:
    """A code for each action, shape (n_actions,), equal where the embeddings are.

    Args:
        embedding: shape (n_actions,) or (n_actions, d). Vectors of real numbers are all different: give `clusters` and
            actions that lie together share a code.
        clusters: how many codes to make by k-means.

    Raises:
        InvalidLog: fewer actions than clusters.
    """
    vectors = np.asarray(embedding)
    if clusters is None:
        _, codes = np.unique(vectors, axis=0, return_inverse=True)
        return codes.astype(np.intp).ravel()
    if not 1 <= clusters <= len(vectors):
        raise InvalidLog(f"clusters is {clusters}: it must be from 1 to the number of actions, {len(vectors)}")
    points = vectors.reshape(len(vectors), -1)
    return np.asarray(KMeans(n_clusters=clusters, n_init=10, random_state=seed).fit_predict(points), dtype=np.intp)


def marginal_propensities(
    *, logging_pmf: ArrayLike, target_pmf: ArrayLike, codes: ArrayLike, actions: ArrayLike
) -> tuple[Floats, Floats]:
    """Logging and target probability of the logged action's code, each of shape (n,).

    Args:
        logging_pmf: shape (n, n_actions).
        target_pmf: shape (n, n_actions).
        codes: shape (n_actions,), from `embedding_codes`.
        actions: shape (n,), the logged actions.
    """
    code_of = np.asarray(codes, dtype=np.intp)
    logged = np.asarray(actions, dtype=np.intp)
    logging, target = np.asarray(logging_pmf, dtype=np.float64), np.asarray(target_pmf, dtype=np.float64)
    if not logging.shape == target.shape == (len(logged), len(code_of)):
        raise InvalidLog(
            f"logging_pmf {logging.shape}, target_pmf {target.shape}: both must be ({len(logged)}, {len(code_of)}), "
            "logged actions x actions with a code"
        )
    same = code_of[logged]
    return _marginal(logging, code_of)[np.arange(len(same)), same], _marginal(target, code_of)[
        np.arange(len(same)), same
    ]


def _marginal(pmf: Floats, codes: Ints) -> Floats:
    members = np.zeros((len(codes), codes.max() + 1))
    members[np.arange(len(codes)), codes] = 1.0
    # Rounding must not make a probability exceed 1.
    return np.minimum(pmf @ members, 1.0)
