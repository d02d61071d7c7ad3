"""A sliding-window limit of requests per second for each key, by the monotonic clock, which is never set back."""

from collections import defaultdict, deque
from collections.abc import Callable
from threading import Lock
from time import monotonic

WINDOW_SECONDS = 1.0


class RateLimiter:
    """Counts the accepted requests of each key in the last second, in the memory of this process."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._lock = Lock()
        self._passed: dict[str, deque[float]] = defaultdict(deque)

    def wait_seconds(self, key: str, most: int) -> float:
        """Seconds until the key may send a request again; 0: this request is accepted and counted."""
        with self._lock:
            now, passed = self._now(), self._passed[key]
            while passed and passed[0] <= now - WINDOW_SECONDS:
                passed.popleft()
            if len(passed) >= most:
                return passed[0] + WINDOW_SECONDS - now
            passed.append(now)
            return 0.0
