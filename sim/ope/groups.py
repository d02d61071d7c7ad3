"""Users as clusters: rows of one user get the same small integer."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bandit.errors import InvalidLog
from sim.common.arrays import Ints

Hashes = NDArray[np.uint64]
HASHED_GROUPS = 65_536  # a power of two


def user_groups(users: ArrayLike | None, n: int) -> tuple[Ints, int]:
    """The cluster of each of n rows, from 0, and the number of clusters; without users each row is a cluster.

    Raises:
        InvalidLog: there is not one user for each row, or a user is null.
    """
    if users is None:
        return np.arange(n, dtype=np.intp), n
    keys = np.asarray(users)
    if keys.shape != (n,):
        raise InvalidLog(f"users has the shape {keys.shape}: it must be ({n},), as rewards has")
    codes, found = pd.factorize(keys)
    if (codes < 0).any():
        raise InvalidLog(f"users, row {int(np.argmax(codes < 0))}: there must be a user, not null")
    return codes.astype(np.intp, copy=False), len(found)


def hashed_groups(users: ArrayLike) -> Ints:
    """The cluster of each row out of 65,536, by a hash of its user; a user has the same cluster in every batch.

    This is for streamed logs: memory does not grow with users or rows. Several users may share a cluster. The hash does
    not depend on outcomes, so clusters are independent if users are, and intervals stay valid. The price is that a
    standard
    error comes from at most 65,536 sums: it is known to 0.3 % of itself.

    Args:
        users: shape (n,), integers or strings.

    Raises:
        InvalidLog: a user is null.
    """
    return groups_of(user_hashes(users))


def user_hashes(users: ArrayLike) -> Hashes:
    """64 bits of each row's user.

    Raises:
        InvalidLog: a user that is null.
    """
    keys = np.asarray(users)
    null = pd.isna(keys)
    if null.any():
        raise InvalidLog(f"users, row {int(np.argmax(null))} of the batch: there must be a user, not null")
    return np.asarray(pd.util.hash_array(keys, categorize=True), dtype=np.uint64)


def groups_of(hashes: Hashes) -> Ints:
    """The cluster of each hash out of 65,536."""
    return (hashes & np.uint64(HASHED_GROUPS - 1)).astype(np.intp)
