"""The real service for one study, with the request clock and a database of its own."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bandit.ids import Entropy
from bandit.service import Service, build_service
from bandit.store.sql.database import Store
from bandit.store.sql.migrate import upgrade


@contextmanager
def scratch_service(database_url: str | None, seed: int) -> Iterator[Service]:
    """The service on a migrated database; the seed determines its draws.

    Args:
        database_url: URL of an empty database, which then keeps everything; None: a temporary database.
    """
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder, 'scratch.db')}" if database_url is None else database_url
        with closing(Store(url)) as store:
            upgrade(store)
            yield build_service(store, clock="request", entropy=scratch_entropy(seed))


def scratch_entropy(seed: int) -> Entropy:
    """Random bytes that follow from the seed: the ids of the decisions, and so the draws, of a scratch service."""
    return np.random.default_rng([seed, 1]).bytes
