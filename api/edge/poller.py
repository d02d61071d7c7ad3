"""A thread that keeps the served models those that are published, so that no request waits for a load."""

from threading import Event, Thread

import structlog

from bandit.errors import StoreUnavailable
from bandit.serve.models import ModelServer

log = structlog.get_logger(__name__)


class ModelPoller:
    """Refreshes a ModelServer every few seconds until stopped."""

    def __init__(self, models: ModelServer, interval_seconds: float) -> None:
        self._models = models
        self._interval_seconds = interval_seconds
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="model-poller", daemon=True)

    def start(self) -> None:
        """Loads what is published now, then follows it in the background."""
        self._refresh()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_seconds):
            self._refresh()

    def _refresh(self) -> None:
        try:
            self._models.refresh()
        except StoreUnavailable as error:
            # The loaded models go on serving; the next poll tries again.
            log.warning("models_not_refreshed", error=str(error))
