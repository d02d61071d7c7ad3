"""Work that is repeated in the background: whatever goes wrong once is logged and tried again.

A thread that ended with an error would be missed by nobody: what it had to do would simply no longer be done.
"""

from collections.abc import Callable
from threading import Event, Thread
from time import monotonic

import structlog

from bandit.errors import SendoptError

log = structlog.get_logger(__name__)


def attempt(job: str, work: Callable[[], object]) -> bool:
    """Whether the work was done; what it raised is logged under the name of the job."""
    try:
        work()
    except SendoptError as error:
        # What the project knows to go wrong: another learner was first, or the database is away.
        log.warning("job_failed", job=job, kind=type(error).__name__, error=str(error))
        return False
    except Exception:
        log.exception("job_crashed", job=job)
        return False
    return True


class Repeated:
    """A thread that attempts the work at an interval, from start to start, until it is stopped.

    The interval is that of the monotonic clock: the system's may be set back by hours.
    """

    def __init__(self, job: str, work: Callable[[], object], seconds: float) -> None:
        self._job = job
        self._work = work
        self._seconds = seconds
        self._stopped = Event()
        self._thread = Thread(target=self._run, name=job, daemon=True)

    def start(self) -> None:
        """Attempts the work at once, in the background, and then again and again."""
        self._thread.start()

    def stop(self) -> None:
        """Waits for an attempt that is under way, and makes no other."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        due_at = monotonic()
        while not self._stopped.wait(max(0.0, due_at - monotonic())):
            due_at = monotonic() + self._seconds
            attempt(self._job, self._work)
