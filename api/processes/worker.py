"""The one scheduler process: closes rewards, learns, publishes; and promotes challengers, if it is told to."""

import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event
from time import sleep
from types import FrameType

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from bandit.errors import SendoptError
from bandit.learn.learner import PassResult
from bandit.service import Service
from bandit.store import idempotency
from bandit.store.sql.turns import learner_turn

TURN_POLL_SECONDS = 0.5
PASS, PROMOTION = "pass", "promotion"  # jobs, each with a thread of its own
ANSWERS_KEPT = timedelta(hours=48)  # idempotent answers; the contract promises 24

log = structlog.get_logger(__name__)


def run_once(service: Service) -> PassResult:
    """One pass, as soon as no other learner is at work: close, learn, publish, prune."""
    while (result := _pass_in_turn(service)) is None:
        sleep(TURN_POLL_SECONDS)
    return result


def _pass_in_turn(service: Service) -> PassResult | None:
    """What a pass did, None when another learner is at work."""
    with learner_turn(service.store) as ours:
        if not ours:
            log.info("learner_waits", rule="one learner at a time works on a database, and another one does")
            return None
        result = service.learner.run_pass()
        with service.store.write() as connection:
            idempotency.forget_before(connection, service.clock.now() - ANSWERS_KEPT)
    if result.closed or result.published or result.refused:
        log.info(
            "pass_done",
            closed=result.closed,
            learned=result.learned,
            published=len(result.published),
            quarantined=result.quarantined,
            refused=len(result.refused),
        )
    return result


def run_forever(service: Service, interval_seconds: float, promotion_interval_seconds: float | None) -> None:
    """Passes at an interval until SIGTERM or SIGINT; a pass under way is finished first.

    Args:
        promotion_interval_seconds: between two looks at the challengers; None: never.
    """
    stopped = Event()
    _stop_on_signals(stopped)
    # The memory job store: a schedule survives nothing, and needs to survive nothing. Looking at challengers has a
    # thread of its own: it may read a long log, and learning must not wait for that.
    executors = {PASS: ThreadPoolExecutor(1), PROMOTION: ThreadPoolExecutor(1)}
    scheduler = BackgroundScheduler(timezone=UTC, executors=executors)
    _every(scheduler, interval_seconds, PASS, partial(_pass_in_turn, service))
    if promotion_interval_seconds is not None:
        _every(scheduler, promotion_interval_seconds, PROMOTION, partial(_promote, service, stopped))
    scheduler.start()
    log.info("worker_started", interval_seconds=interval_seconds, promotion_interval_seconds=promotion_interval_seconds)
    stopped.wait()
    scheduler.shutdown(wait=True)
    log.info("worker_stopped")


def _every(scheduler: BackgroundScheduler, seconds: float, what: str, work: Callable[[], object]) -> None:
    scheduler.add_job(
        _guarded,
        IntervalTrigger(seconds=seconds, timezone=UTC),
        args=[what, work],
        executor=what,
        next_run_time=datetime.now(UTC),
        max_instances=1,
        coalesce=True,
        misfire_grace_time=None,
    )


def _guarded(what: str, work: Callable[[], object]) -> None:
    try:
        work()
    except SendoptError as error:
        # What the project knows to go wrong: another learner was first, or the database is away. The next one retries.
        log.warning("job_failed", job=what, kind=type(error).__name__, error=str(error))
    except Exception:
        log.exception("job_crashed", job=what)


class _Stopped(Exception):
    """The worker is to stop, and need not finish what changes nothing."""


def _promote(service: Service, stopped: Event) -> None:
    from api.words.promotion import promote_all  # what evaluates takes a second to load, and is hardly ever wanted here

    def go_on(_rows: int) -> None:
        if stopped.is_set():
            raise _Stopped

    try:
        promote_all(service, go_on)
    except _Stopped:
        log.info("promotion_stopped", rule="nothing was changed; the next start looks again")


def _stop_on_signals(stopped: Event) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
