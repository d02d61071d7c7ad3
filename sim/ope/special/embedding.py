"""Marginal importance weights: actions with the same embedding share a weight.

Pass the two results to `evaluate` as the propensities: MIPS is IPS with these. It is unbiased if the action affects the
reward only through the embedding, and then has much less variance with many actions.

Source: Saito and Joachims (2022), Off-policy evaluation for large action spaces via embeddings.
"""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.cluster import KMeans

from bandit.errors import InvalidLog, InvalidPropensity
from sim.common.arrays import Floats, Ints

CODES_TOLERANCE = 1e-6


def embedding_codes(embedding: ArrayLike, *, clusters: int | None = None, seed: int = 0) -> Ints:
    """A code for each action, shape (n_actions,), equal for equal embeddings.

    Args:
        embedding: shape (n_actions,) or (n_actions, d). Vectors of real numbers are all different: set `clusters`, so
            that similar actions share a code.
        clusters: number of codes, made by k-means.

    Raises:
        InvalidLog: there are fewer actions than clusters.
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
    # Rounding must not raise a probability above 1.
    return np.minimum(pmf @ members, 1.0)


def observed_code_propensities(
    *, logging_pmf: ArrayLike, target_pmf: ArrayLike, embedding: ArrayLike, observed: ArrayLike
) -> tuple[Floats, Floats]:
    """Logging and target probability of the code that was observed, where an action has a code only by chance.

    Args:
        logging_pmf: shape (n, n_actions).
        target_pmf: shape (n, n_actions).
        embedding: probability of each code given the action, shape (n_actions, n_codes), or (n, n_actions, n_codes) if
            it depends on the row.
        observed: shape (n,), the code of each row, from 0.

    Raises:
        InvalidPropensity: the codes of an action do not sum to 1.
        InvalidLog: other shapes.
    """
    logging, target = np.asarray(logging_pmf, dtype=np.float64), np.asarray(target_pmf, dtype=np.float64)
    given, codes = np.asarray(embedding, dtype=np.float64), np.asarray(observed, dtype=np.intp)
    n, n_actions = logging.shape
    if target.shape != logging.shape or codes.shape != (n,) or given.shape[:-1] not in ((n_actions,), (n, n_actions)):
        raise InvalidLog(
            f"logging_pmf {logging.shape}, target_pmf {target.shape}, embedding {given.shape}, observed {codes.shape}: "
            "must be (n, actions) twice, (actions, codes) or (n, actions, codes), and (n,)"
        )
    if not (np.all(given >= 0.0) and np.allclose(given.sum(axis=-1), 1.0, atol=CODES_TOLERANCE)):
        raise InvalidPropensity("embedding: the probabilities of an action's codes must not be negative and sum to 1")
    likelihood = given[:, codes].T if given.ndim == 2 else given[np.arange(n), :, codes]
    pair = (np.einsum("na,na->n", pmf, likelihood) for pmf in (logging, target))
    known, wanted = (np.asarray(np.minimum(one, 1.0), dtype=np.float64) for one in pair)
    return known, wanted
