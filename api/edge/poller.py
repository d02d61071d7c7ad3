"""Keeps the served models those that are published, so that no request waits for a load."""

from time import monotonic, time

from api.edge.repeat import Repeated, attempt
from bandit.serve.models import ModelServer

JOB = "models"
PATIENCE_SECONDS = 30.0  # beyond three looks: a database that is away for a moment is no fault of this process


class ModelPoller:
    """Refreshes a ModelServer every few seconds until stopped, and knows whether that works."""

    def __init__(self, models: ModelServer, interval_seconds: float) -> None:
        self._models = models
        self._patience_seconds = PATIENCE_SECONDS + 3 * interval_seconds
        self._repeated = Repeated(JOB, self._refresh, interval_seconds)
        self._followed_at = monotonic()
        self.followed_timestamp = 0.0  # of the system's clock, for graphs; 0: it never worked

    @property
    def seconds_behind(self) -> float:
        """Since the champions were last looked up and loaded, all of them; or since the start."""
        return monotonic() - self._followed_at

    @property
    def follows(self) -> bool:
        """Whether what is served can still be taken for what is published."""
        return self.seconds_behind <= self._patience_seconds

    def start(self) -> None:
        """Loads what is published now, then follows it in the background."""
        attempt(JOB, self._refresh)
        self._repeated.start()

    def stop(self) -> None:
        self._repeated.stop()

    def _refresh(self) -> None:
        self._models.refresh()
        self._followed_at = monotonic()
        self.followed_timestamp = time()
