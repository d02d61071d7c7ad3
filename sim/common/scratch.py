"""The real service for one study, on the request clock and a database of its own."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bandit.service import Service, build_service
from bandit.store.sql.database import Store
from bandit.store.sql.migrate import upgrade


@contextmanager
def scratch_service(database_url: str | None, seed: int) -> Iterator[Service]:
    """The service on a database brought to its schema; its draws follow from the seed.

    Args:
        database_url: of an empty database that then keeps everything; None for one that is thrown away.
    """
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder, 'scratch.db')}" if database_url is None else database_url
        with closing(Store(url)) as store:
            upgrade(store)
            yield build_service(store, clock="request", entropy=np.random.default_rng([seed, 1]).bytes)
