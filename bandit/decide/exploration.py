"""pmf mathematics in float64: renormalise, floor by mixing, draw by inverse CDF.

This runs once per decision, so it uses bare ufunc reductions: array methods take twice as long on short arrays.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from bandit.errors import InvalidPropensity

Pmf = NDArray[np.float64]
SUM_TOLERANCE = 1e-9
LARGEST_SUM = 1e300


def pmf_bytes(pmf: Pmf) -> bytes:
    """The pmf as it is stored, with every bit."""
    return pmf.astype("<f8").tobytes()


def pmf_from_bytes(stored: bytes) -> Pmf:
    """The pmf that `pmf_bytes` wrote, shape (actions,); it cannot be changed."""
    return np.frombuffer(stored, dtype="<f8")


def with_floor(scores: Sequence[float] | Pmf, floor: float) -> Pmf:
    """The scores renormalised and mixed with the uniform pmf: no action is below floor / k.

    The floor is mixed in, because clipping and then renormalising would push the clipped probabilities below it again.

    Args:
        scores: shape (k,), not negative, of any positive sum (the engine's pmf sums to 1 only in float32).
        floor: in [0, 1]; the probability that is spread evenly over all k actions.

    Raises:
        InvalidPropensity: no scores, one that is negative, NaN or infinite, a sum of zero, or a floor outside [0, 1].
    """
    pmf = np.array(scores, dtype=np.float64)
    if pmf.ndim != 1 or pmf.size == 0:
        raise InvalidPropensity(f"a pmf has at least one action in one row, not the shape {pmf.shape}")
    if not 0.0 <= floor <= 1.0:
        raise InvalidPropensity(f"the floor is {floor}: it must be in [0, 1]")
    # Python's own sum: it is faster on a short list, and does not warn when it overflows. A score that is NaN or
    # infinite makes the sum NaN or infinite, and no comparison with NaN is true.
    total = sum(scores)
    if not (0.0 < total <= LARGEST_SUM and min(scores) >= 0.0):
        raise InvalidPropensity(f"scores must be finite, not negative and not all zero: {pmf.tolist()}")
    pmf /= total  # a separate step: a single score is then exactly 1
    pmf *= 1.0 - floor
    pmf += floor / pmf.size
    return pmf


def uniform(k: int) -> Pmf:
    """The pmf that gives each of k actions 1 / k.

    Raises:
        InvalidPropensity: k is less than 1.
    """
    if k < 1:
        raise InvalidPropensity(f"a pmf over {k} actions: there must be at least 1")
    return np.full(k, 1.0 / k)


def one_hot(k: int, index: int) -> Pmf:
    """The pmf over k actions that always draws the one at index.

    Raises:
        InvalidPropensity: index is outside [0, k).
    """
    if not 0 <= index < k:
        raise InvalidPropensity(f"action {index} of {k}: the index must be in [0, {k})")
    pmf = np.zeros(k)
    pmf[index] = 1.0
    return pmf


def draw_number(salt: str, decision_id: str) -> float:
    """A uniform number in [0, 1) that can be computed again by anyone who knows both texts.

    The top 53 bits of BLAKE2b over "<bytes in salt>:<salt><decision_id>" in UTF-8: the length makes the boundary
    between the two unambiguous, and 53 bits are enough for every probability that a float64 pmf can represent.
    """
    prefix = salt.encode()
    message = b"%d:%b%b" % (len(prefix), prefix, decision_id.encode())
    return (int.from_bytes(blake2b(message, digest_size=8).digest()) >> 11) * 2.0**-53


def draw(pmf: Pmf, u: float) -> int:
    """The index at which the cumulated pmf first exceeds u; never one of probability 0.

    Args:
        pmf: shape (k,), summing to 1 within 1e-9.
        u: in [0, 1).

    Raises:
        InvalidPropensity: the pmf does not sum to 1, or u is outside [0, 1).
    """
    cumulated = np.add.accumulate(pmf)
    total = float(cumulated[-1]) if cumulated.size else 0.0
    if not abs(total - 1.0) <= SUM_TOLERANCE:
        raise InvalidPropensity(f"the pmf sums to {total}: it must sum to 1 within {SUM_TOLERANCE}")
    if not 0.0 <= u < 1.0:
        raise InvalidPropensity(f"the number to draw with is {u}: it must be in [0, 1)")
    # If the sum rounds to just below 1, the gap at the top belongs to the last action that can be drawn.
    if u >= total:
        return int(cumulated.searchsorted(total, side="left"))
    return int(cumulated.searchsorted(u, side="right"))
