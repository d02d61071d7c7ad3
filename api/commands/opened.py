"""The service on the configured database, for commands."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bandit.errors import SettingsError
from bandit.service import Service, build_service
from bandit.settings import Settings
from bandit.store.sql.database import Store
from bandit.store.sql.migrate import pending


@contextmanager
def opened(settings: Settings) -> Iterator[Service]:
    """The service on the configured database, which must have this program's schema."""
    store = Store(settings.database_url)
    try:
        if pending(store):
            raise SettingsError(f"the database {store.shown_url} has another schema: run `sendopt migrate` first")
        yield build_service(store, clock=settings.clock, entropy=os.urandom)
    finally:
        store.close()
