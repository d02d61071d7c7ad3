"""The one scheduler process: closes rewards, learns, publishes."""

import signal
from datetime import UTC, datetime, timedelta
from threading import Event
from time import sleep
from types import FrameType

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from bandit.errors import SendoptError
from bandit.learner import PassResult
from bandit.service import Service
from bandit.store import idempotency
from bandit.store.turns import learner_turn

TURN_POLL_SECONDS = 0.5
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


def run_forever(service: Service, interval_seconds: float) -> None:
    """Passes at an interval until SIGTERM or SIGINT; a pass under way is finished first."""
    stopped = Event()
    _stop_on_signals(stopped)
    # The memory job store: a schedule survives nothing, and needs to survive nothing.
    scheduler = BackgroundScheduler(timezone=UTC, executors={"default": ThreadPoolExecutor(1)})
    scheduler.add_job(
        _guarded_pass,
        IntervalTrigger(seconds=interval_seconds, timezone=UTC),
        args=[service],
        next_run_time=datetime.now(UTC),
        max_instances=1,
        coalesce=True,
        misfire_grace_time=None,
    )
    scheduler.start()
    log.info("worker_started", interval_seconds=interval_seconds)
    stopped.wait()
    scheduler.shutdown(wait=True)
    log.info("worker_stopped")


def _guarded_pass(service: Service) -> None:
    try:
        _pass_in_turn(service)
    except SendoptError as error:
        # What the project knows to go wrong: another learner was first, or the database is away. The next pass retries.
        log.warning("pass_failed", kind=type(error).__name__, error=str(error))
    except Exception:
        log.exception("pass_crashed")


def _stop_on_signals(stopped: Event) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
