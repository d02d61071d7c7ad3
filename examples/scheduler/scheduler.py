"""A notification scheduler with the send-optimizer: ask, keep, check again, send, report."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from api.client import Choice, SendoptClient
from examples.scheduler.gateways import Gateway, NotDelivered
from examples.scheduler.outbox import Message, Outbox
from examples.scheduler.people import People, Person

CAMPAIGN = "welcome-back"
FRESH_FOR = timedelta(hours=1)  # a message that is later than this is not sent any more
REPORT_SECONDS = 2

log = structlog.get_logger(__name__)


class Scheduler:
    """Sends to people what the service decides, when it decides."""

    def __init__(
        self,
        *,
        client: SendoptClient,
        people: People,
        gateways: Mapping[str, Gateway],
        outbox: Outbox,
        fallback: Choice,
    ) -> None:
        """
        Args:
            gateways: by channel.
            fallback: the choice for a person if the service does not answer in time.
        """
        self._client = client
        self._people = people
        self._gateways = gateways
        self._outbox = outbox
        self._fallback = fallback
        self._jobs = BackgroundScheduler(timezone=UTC, executors={"default": ThreadPoolExecutor(4)})

    def start(self) -> None:
        """Continues with the messages that were waiting at the last stop."""
        self._jobs.add_job(self._report, "interval", seconds=REPORT_SECONDS, max_instances=1, coalesce=True)
        self._jobs.start()
        for message in self._outbox.waiting():
            self._schedule(message)

    def stop(self) -> None:
        """Finishes and reports messages that are being sent; waiting messages are kept for the next start."""
        self._jobs.shutdown(wait=True)
        self._report()

    def ask_about_everyone(self) -> int:
        """Asks about every person; returns the number of messages that now wait for their send time."""
        return sum([self._ask(person) for person in self._people])

    def _ask(self, person: Person) -> bool:
        channels = [channel for channel in self._gateways if self._people.consents(person.id, channel)]
        user = {"id": person.id, "timezone": person.timezone, "channels": channels, "features": person.features}
        choice = self._client.decide({"campaign": CAMPAIGN, "user": user}, fallback=self._fallback)
        if choice.degraded:
            log.warning("decided_without_the_service", person=person.id, error=str(choice.failure))
        message = _message(person, choice)
        if message is None or not self._outbox.hold(message):
            return False
        self._schedule(message)
        return True

    def _schedule(self, message: Message) -> None:
        # However late: `_outcome` decides whether it is still worth sending.
        self._jobs.add_job(
            self._send, "date", run_date=message.send_at, args=[message], misfire_grace_time=None, id=message.id
        )

    def _send(self, message: Message) -> None:
        if self._outbox.take(message.id):
            outcome = self._outcome(message)
            self._outbox.finish(message.id, outcome)
            log.info("message_done", message=message.id, outcome=outcome)

    def _outcome(self, message: Message) -> str:
        """The delivery event of a message, by the consent and age of now, not of the time of the decision."""
        is_stale = datetime.now(UTC) >= message.send_at + FRESH_FOR
        if is_stale or not self._people.consents(message.person, message.channel):
            return "cancelled"
        person = self._people.get(message.person)
        try:
            self._gateways[message.channel].send(person, message.content, message.id)
        except NotDelivered as error:
            log.warning("message_not_delivered", message=message.id, error=str(error))
            return "failed"
        return "delivered"

    def _report(self) -> None:
        """Reports new outcomes to the service; reports that do not arrive are repeated next time."""
        for report in self._outbox.unreported():
            event = {
                "decision_id": report.decision_id,
                "event": report.event,
                "occurred_at": report.occurred_at,
            }
            if self._client.feedback(event) is not None:
                self._outbox.reported(report.message_id)


def _message(person: Person, choice: Choice) -> Message | None:
    """The message of a choice; None for silence."""
    if not choice.send or choice.channel is None or choice.content is None:
        return None
    return Message(
        id=choice.decision_id or f"fallback-{uuid4().hex}",
        decision_id=choice.decision_id,
        person=person.id,
        channel=choice.channel,
        content=choice.content,
        send_at=choice.send_at or datetime.now(UTC),
    )
