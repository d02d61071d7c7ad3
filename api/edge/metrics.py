"""GET /metrics: the counts of this service and the state of its store, for Prometheus.

Each process counts what it does. Several serving processes share their counts, so that each of them can answer for all.
The state of the store is read at each request.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from flask import Blueprint, Response, current_app
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection

from api.edge.auth import Scope, needs
from api.edge.counts import SharedCounts
from api.edge.operations import describes
from api.edge.poller import ModelPoller
from api.edge.repeat import Repeated, attempt
from bandit.decide.decision import DecisionRecord
from bandit.domain import Decision, Feedback, FeedbackStatus
from bandit.errors import StoreUnavailable
from bandit.serve.decisions import Ask
from bandit.serve.decisions import Outcome as DecideOutcome
from bandit.serve.feedback import Outcome as FeedbackOutcome
from bandit.serve.models import ModelServer
from bandit.service import Service
from bandit.store import gauges

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

EXTENSION = "sendopt-metrics"
FOLDER_VARIABLE = "SERVED_COUNTS_FOLDER"  # not a setting: only settings may begin with SENDOPT_
SHARING = "counts"  # name of the job that shares the counts
SHARE_SECONDS = 1.0
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
SEND, SILENCE = "send", "silence"  # parts of a pmf
RECENT = timedelta(hours=24)

blueprint = Blueprint("metrics", __name__)


class Metrics:
    """The counts of one application."""

    def __init__(self, folder: str | None) -> None:
        """
        Args:
            folder: in which the serving processes share their counts; None if this is the only one.
        """
        self.registry = own = CollectorRegistry()
        by_policy = ["campaign", "policy"]
        self._decisions = Counter(
            "sendopt_decisions", "Decisions stored.", [*by_policy, "channel", "outcome"], registry=own
        )
        # Sends and silence are separate: in their sum, sends that became silence after the draw would not be visible.
        by_part = [*by_policy, "part"]
        self._inverse = Counter("sendopt_inverse_propensity", "Sum of 1/p over decisions.", by_part, registry=own)
        self._squares = Counter(
            "sendopt_inverse_propensity_squares", "Sum of 1/p squared over decisions.", by_part, registry=own
        )
        self._drawable = Counter(
            "sendopt_drawable_actions", "Sum over decisions of the actions with p > 0.", by_part, registry=own
        )
        self._feedback = Counter("sendopt_feedback", "Feedback events.", ["status"], registry=own)
        self._seconds = Histogram(
            "sendopt_request_seconds", "Time to answer.", ["route", "method", "status"], buckets=BUCKETS, registry=own
        )
        # Finding a child by its labels takes longer than counting, so children are cached.
        self._children: dict[tuple[str | None, ...], tuple[Counter, ...]] = {}
        self._timers: dict[tuple[str, str, str], Histogram] = {}
        self._shared = None if folder is None else SharedCounts(Path(folder), own)

    def sharing(self) -> Repeated | None:
        """Shares the counts with the other serving processes after it is started; None if there are none."""
        return None if self._shared is None else Repeated(SHARING, self._shared.write_seldom, SHARE_SECONDS)

    def exposition(self) -> bytes:
        """The counts in Prometheus's text format."""
        is_complete = self._shared is None or attempt(SHARING, self._shared.write)
        everybody = CollectorRegistry()
        Gauge("sendopt_counts_complete", "Whether counts could be shared.", registry=everybody).set(is_complete)
        if self._shared is None:
            return generate_latest(everybody) + generate_latest(self.registry)
        everybody.register(self._shared)
        return generate_latest(everybody)

    def counting_decisions(
        self, decide_many: Callable[[Sequence[Ask]], list[DecideOutcome]]
    ) -> Callable[[Sequence[Ask]], list[DecideOutcome]]:
        """The same function; its decisions are counted after they are committed."""

        def decide_and_count(asks: Sequence[Ask]) -> list[DecideOutcome]:
            outcomes = decide_many(asks)
            for outcome in outcomes:
                if isinstance(outcome, DecisionRecord):
                    self.decided(outcome)
            return outcomes

        return decide_and_count

    def counting_feedback(
        self, accept_many: Callable[[Sequence[Feedback]], list[FeedbackOutcome]]
    ) -> Callable[[Sequence[Feedback]], list[FeedbackOutcome]]:
        """The same function; its events are counted after they are committed."""

        def accept_and_count(events: Sequence[Feedback]) -> list[FeedbackOutcome]:
            outcomes = accept_many(events)
            for outcome in outcomes:
                status = outcome.value if isinstance(outcome, FeedbackStatus) else "refused"
                self._feedback.labels(status).inc()
            return outcomes

        return accept_and_count

    def decided(self, record: DecisionRecord) -> None:
        """Counts a decision and its draw.

        If propensities are true, the sum of 1/p over sends is on average the number of sends that could be drawn, and
        over silence the number of decisions in which silence could be drawn.
        """
        decision = record.decision
        key = (decision.campaign, decision.policy, decision.action.channel, decision.reason)
        counters = self._children.get(key)
        if counters is None:
            counters = self._children[key] = self._children_of(decision)
        decisions, inverses, squares, sends, silences = counters
        inverse = 1.0 / decision.propensity
        decisions.inc()
        inverses.inc(inverse)
        squares.inc(inverse * inverse)
        sends.inc(int(np.count_nonzero(record.pmf[1:])))
        silences.inc(int(record.pmf[0] > 0))

    def _children_of(self, decision: Decision) -> tuple[Counter, ...]:
        of_policy = (decision.campaign, decision.policy.value)
        outcome = SEND if decision.reason is None else decision.reason.value
        part = SEND if decision.action.send else SILENCE
        return (
            self._decisions.labels(*of_policy, decision.action.channel or "", outcome),
            self._inverse.labels(*of_policy, part),
            self._squares.labels(*of_policy, part),
            self._drawable.labels(*of_policy, SEND),
            self._drawable.labels(*of_policy, SILENCE),
        )

    def timing(self, answer: "WSGIApplication") -> "WSGIApplication":
        """The same application, with its answers timed.

        It wraps Flask, because each of Flask's own hooks costs more.
        """

        def timed(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
            started_at = perf_counter()

            def noted(status: str, *rest: Any) -> Callable[[bytes], object]:
                # Here, not after the answer: then Flask has already released the request.
                rule = environ["werkzeug.request"].url_rule
                timer = self._timer(rule and rule.rule, environ["REQUEST_METHOD"], status[:3])
                timer.observe(perf_counter() - started_at)
                return start_response(status, *rest)

            return answer(environ, noted)

        return timed

    def _timer(self, rule: str | None, method: str, status: str) -> Histogram:
        # Addresses and methods that do not exist can have any name: all of them count as one route.
        key = (rule or "none", method if rule else "", status)
        timer = self._timers.get(key)
        if timer is None:
            timer = self._timers[key] = self._seconds.labels(*key)
        return timer


class ServedCollector(Collector):
    """The versions that this process serves, and when it last checked for others."""

    def __init__(self, models: ModelServer, poller: ModelPoller) -> None:
        self._models = models
        self._poller = poller

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: what is not described here is not asked for when it is registered."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        served = _by_campaign("sendopt_served_model_version", "Lowest version that a serving process decides with.")
        for campaign_id, version in self._models.versions().items():
            served.add_metric([campaign_id], version)
        yield served
        yield GaugeMetricFamily(
            "sendopt_models_followed_timestamp_seconds",
            "When a serving process last had every published version, of the process that is furthest behind.",
            value=self._poller.followed_timestamp,
        )


class StoreCollector(Collector):
    """Reads the state of the store at each collection."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: what is not described here is not asked for when it is registered."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        up = GaugeMetricFamily("sendopt_store_up", "Whether the store could be read.", value=1.0)
        try:
            now = self._service.clock.now()
            with self._service.store.read() as connection:
                found = [
                    *_queue(connection, now),
                    *_models(connection, now),
                    *_rewards(connection, now),
                ]
        except StoreUnavailable:
            # The gauge says so; the counts of this process must still be answered.
            up, found = GaugeMetricFamily("sendopt_store_up", "Whether the store could be read.", value=0.0), []
        yield up
        yield from found


def _queue(connection: Connection, now: datetime) -> Iterator[GaugeMetricFamily]:
    yield GaugeMetricFamily(
        "sendopt_open_decisions", "Decisions whose reward is open.", value=gauges.open_count(connection)
    )
    due_at = gauges.oldest_due_at(connection)
    overdue = 0.0 if due_at is None else max(0.0, (now - due_at).total_seconds())
    yield GaugeMetricFamily(
        "sendopt_learner_lag_seconds", "For how long the oldest decision that is due waits to be closed.", value=overdue
    )


def _quarantine(connection: Connection) -> GaugeMetricFamily:
    labels = ["campaign", "reason"]
    held = GaugeMetricFamily("sendopt_quarantined_decisions", "Decisions kept away from every model.", labels=labels)
    for row in gauges.quarantined(connection):
        held.add_metric([row.campaign_id, row.reason], row.number)
    return held


def _models(connection: Connection, now: datetime) -> Iterator[GaugeMetricFamily]:
    behind = _by_campaign("sendopt_unlearned_decisions", "Closed decisions that the champion has not learned.")
    version = _by_campaign("sendopt_model_version", "Version of the champion; 0 before there is one.")
    age = _by_campaign("sendopt_model_age_seconds", "Since the champion was published.")
    refused = _by_campaign("sendopt_refused_versions", "Stored versions that the canary refused.")
    anew = _by_campaign("sendopt_models_begun_anew", "Times that the learned policy fell and the champion began anew.")
    of_campaign, falls = gauges.refused_versions(connection), gauges.begun_anew(connection)
    for row in gauges.champions(connection):
        refused.add_metric([row.campaign_id], of_campaign.get(row.campaign_id, 0))
        anew.add_metric([row.campaign_id], falls.get(row.campaign_id, 0))
        behind.add_metric([row.campaign_id], gauges.closed_after(connection, row.campaign_id, row.watermark or 0))
        version.add_metric([row.campaign_id], row.version or 0)
        if row.created_at is not None:
            age.add_metric([row.campaign_id], (now - row.created_at).total_seconds())
    yield from (behind, version, age, refused, anew, _quarantine(connection))


def _by_campaign(name: str, what: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, labels=["campaign"])


def _rewards(connection: Connection, now: datetime) -> Iterator[GaugeMetricFamily]:
    labels, which = ["campaign", "policy"], "of the last 24 hours, at most the latest 10,000"
    count = GaugeMetricFamily("sendopt_recent_rewards", f"Number of final rewards {which}.", labels=labels)
    total = GaugeMetricFamily("sendopt_recent_reward_sum", f"Sum of final rewards {which}.", labels=labels)
    squares = GaugeMetricFamily("sendopt_recent_reward_squares", f"Sum of squares of rewards {which}.", labels=labels)
    for sums in gauges.recent_rewards(connection, now - RECENT):
        of_policy = [sums.campaign_id, sums.policy]
        count.add_metric(of_policy, sums.count)
        total.add_metric(of_policy, sums.total)
        squares.add_metric(of_policy, sums.squares)
    yield from (count, total, squares)


@blueprint.get("/metrics")
@needs(Scope.READ)
@describes("Operations", "Metrics in Prometheus's text format", answers={200: ("text/plain",)})
def get_metrics() -> Response:
    counted, stands = current_app.extensions[EXTENSION]
    return Response(counted.exposition() + generate_latest(stands), content_type=CONTENT_TYPE_LATEST)


def store_registry(service: Service) -> CollectorRegistry:
    """The registry with the state of the service's store."""
    registry = CollectorRegistry()
    registry.register(StoreCollector(service))
    return registry
