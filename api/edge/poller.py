"""Keeps the served models up to date in the background, so that no request waits for a load."""

from time import monotonic, time

from api.edge.repeat import Repeated, attempt
from bandit.serve.models import ModelServer

JOB = "models"
PATIENCE_SECONDS = (
    30.0  # more than three polls: a database that is not available for a moment is not a fault of this process
)


class ModelPoller:
    """Refreshes a ModelServer every few seconds until stopped, and knows whether that works."""

    def __init__(self, models: ModelServer, interval_seconds: float) -> None:
        self._models = models
        self._patience_seconds = PATIENCE_SECONDS + 3 * interval_seconds
        self._repeated = Repeated(JOB, self._refresh, interval_seconds)
        self._followed_at = monotonic()
        self.followed_timestamp = 0.0  # by the system's clock, for graphs; 0: it never succeeded

    @property
    def seconds_behind(self) -> float:
        """Seconds since all champions were last checked and loaded, or since the start."""
        return monotonic() - self._followed_at

    @property
    def follows(self) -> bool:
        """Whether the served versions can still be assumed to be the published ones."""
        return self.seconds_behind <= self._patience_seconds

    def start(self) -> None:
        """Loads the published versions, then follows new ones in the background."""
        attempt(JOB, self._refresh)
        self._repeated.start()

    def stop(self) -> None:
        self._repeated.stop()

    def _refresh(self) -> None:
        self._models.refresh()
        self._followed_at = monotonic()
        self.followed_timestamp = time()
