"""The worker process: closes rewards, learns, publishes, and promotes challengers if a setting says so."""

import signal
from datetime import timedelta
from functools import partial
from threading import Event
from time import sleep
from types import FrameType

import structlog

from api.edge.repeat import Repeated
from bandit.learn.learner import PassResult
from bandit.service import Service
from bandit.store import idempotency
from bandit.store.sql.turns import learner_turn

TURN_POLL_SECONDS = 0.5
PASS, PROMOTION = "pass", "promotion"  # number of jobs, each with a thread of its own
ANSWERS_KEPT = timedelta(hours=48)  # idempotent answers; the contract promises 24

log = structlog.get_logger(__name__)


def run_once(service: Service) -> PassResult:
    """One pass, as soon as no other learner works: close, learn, publish, prune."""
    while (result := _pass_in_turn(service)) is None:
        sleep(TURN_POLL_SECONDS)
    return result


def _pass_in_turn(service: Service) -> PassResult | None:
    """What a pass did; None if another learner is working."""
    with learner_turn(service.store) as ours:
        if not ours:
            log.info("learner_waits", rule="only one learner at a time works on a database, and another one is working")
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
    """Runs passes at an interval until SIGTERM or SIGINT; finishes a running pass first.

    Args:
        promotion_interval_seconds: between two checks of the challengers; None: never.
    """
    stopped = Event()
    _stop_on_signals(stopped)
    jobs = [Repeated(PASS, partial(_pass_in_turn, service), interval_seconds)]
    if promotion_interval_seconds is not None:
        # In a thread of its own: it may read a long log, and learning must not wait for that.
        jobs.append(Repeated(PROMOTION, partial(_promote, service, stopped), promotion_interval_seconds))
    for job in jobs:
        job.start()
    log.info("worker_started", interval_seconds=interval_seconds, promotion_interval_seconds=promotion_interval_seconds)
    stopped.wait()
    for job in jobs:
        job.stop()
    log.info("worker_stopped")


class _Stopped(Exception):
    """The worker must stop, and need not finish a check that changes nothing."""


def _promote(service: Service, stopped: Event) -> None:
    from api.words.promotion import promote_all  # the evaluation code takes a second to load, and is rarely needed here

    def go_on(_rows: int) -> None:
        if stopped.is_set():
            raise _Stopped

    try:
        promote_all(service, go_on)
    except _Stopped:
        log.info("promotion_stopped", rule="nothing was changed; the next start checks again")


def _stop_on_signals(stopped: Event) -> None:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
