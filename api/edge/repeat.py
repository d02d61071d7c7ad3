"""Work that is repeated in the background: every error is logged, and the work is tried again.

If a thread ended with an error, nobody would notice; its work would simply not be done any more.
"""

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic

import structlog

from bandit.errors import SendoptError

log = structlog.get_logger(__name__)


def attempt(job: str, work: Callable[[], object]) -> bool:
    """Whether the work succeeded; an error is logged under the name of the job."""
    try:
        work()
    except SendoptError as error:
        # Expected failures: another learner was faster, or the database is not available.
        log.warning("job_failed", job=job, kind=type(error).__name__, error=str(error))
        return False
    except Exception:
        log.exception("job_crashed", job=job)
        return False
    return True


class Repeated:
    """A thread that attempts the work at an interval, from start to start, until it is stopped.

    The interval is measured by the monotonic clock, because the system's clock may be set back by hours.
    """

    def __init__(self, job: str, work: Callable[[], object], seconds: float) -> None:
        self._job = job
        self._work = work
        self._seconds = seconds
        self._stopped = Event()
        self._thread = Thread(target=self._run, name=job, daemon=True)

    def start(self) -> None:
        """Attempts the work at once in the background, and then at every interval."""
        self._thread.start()

    def stop(self) -> None:
        """Waits for a running attempt, and starts no other."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        due_at = monotonic()
        while not self._stopped.wait(max(0.0, due_at - monotonic())):
            due_at = monotonic() + self._seconds
            attempt(self._job, self._work)
