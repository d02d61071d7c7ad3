"""Accepts feedback: checks it against its decision, stores it once, and says whether it still counts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection

from bandit.campaign.document import Campaign
from bandit.domain import RESERVED_EVENTS, REWARD_EVENT, VOIDING, Feedback, FeedbackStatus
from bandit.errors import FieldError, ImpossibleInput, InvalidInput, NotFound, SendoptError
from bandit.serve.campaigns import Campaigns
from bandit.serve.clock import Clock
from bandit.store import decisions, feedback
from bandit.store.feedback import DecisionHeader, EventKey
from bandit.store.sql.database import Store

Outcome = FeedbackStatus | SendoptError


class FeedbackIntake:
    """Checks and stores feedback events."""

    def __init__(self, store: Store, clock: Clock, campaigns: Campaigns) -> None:
        self._store = store
        self._clock = clock
        self._campaigns = campaigns

    def accept_many(self, events: Sequence[Feedback]) -> list[Outcome]:
        """One outcome per event, in order; accepted and late events have been committed.

        Raises:
            StoreUnavailable: nothing was stored.
        """
        with self._store.write() as connection:
            headers = feedback.headers(connection, {event.decision_id for event in events})
            checked = [self._checked(connection, event, headers.get(event.decision_id)) for event in events]
            received_at = self._clock.now()
            rows = [{**row, "received_at": received_at} for row in checked if isinstance(row, dict)]
            new = feedback.insert_new(connection, rows)
            # Only what was stored has an effect: a repeat must not free a slot.
            decisions.free_sends(connection, [one.decision_id for one in new if one.event in VOIDING])
        return [_outcome(one, new) for one in checked]

    def _checked(
        self, connection: Connection, event: Feedback, header: DecisionHeader | None
    ) -> dict[str, Any] | SendoptError:
        """The row to store, or the reason why it is refused."""
        if header is None:
            return NotFound("decision", event.decision_id)
        try:
            campaign = self._campaigns.document(connection, header.campaign_id, header.campaign_version)
            check_event(campaign, event, header.decided_at)
        except SendoptError as error:
            # This is its outcome: a bad event of a batch must not make the others fail.
            return error
        occurred_at = event.occurred_at.astimezone(UTC)
        self._clock.observe(occurred_at)
        return {
            "decision_id": event.decision_id,
            "campaign_id": header.campaign_id,
            "user_id": header.user_id,
            "event": event.event,
            "occurred_at": occurred_at,
            "value": event.value,
            "event_id": event.event_id,
            "dedupe_key": _dedupe_key(event, occurred_at),
            "source": event.source,
            "late": not header.is_open or occurred_at > header.reward_deadline,
        }


def _outcome(checked: dict[str, Any] | SendoptError, new: set[EventKey]) -> Outcome:
    if isinstance(checked, SendoptError):
        return checked
    key = EventKey.of(checked)
    if key not in new:
        return FeedbackStatus.DUPLICATE
    new.discard(key)  # the same event twice in one batch: the second is the duplicate
    return FeedbackStatus.LATE if checked["late"] else FeedbackStatus.ACCEPTED


def _dedupe_key(event: Feedback, occurred_at: datetime) -> bytes:
    """16 bytes that are equal for repeats among a decision's events of one name."""
    # The first byte distinguishes a sender's id from a moment with the same spelling. Providers give one id to
    # every event of a message: the id alone names no event.
    named = f"i{event.event_id}" if event.event_id is not None else f"e{event.event}\0{occurred_at.isoformat()}"
    return blake2b(named.encode(), digest_size=16).digest()


def check_event(campaign: Campaign, event: Feedback, decided_at: datetime) -> None:
    """Raises InvalidInput if an event is malformed, ImpossibleInput if it cannot have happened."""
    if event.event == REWARD_EVENT and event.value is None:
        raise InvalidInput([FieldError(field="value", message="is required for the event 'reward'")])
    if event.event not in RESERVED_EVENTS and event.event not in campaign.reward.events:
        known = ", ".join(sorted({*campaign.reward.events, *RESERVED_EVENTS}))
        message = f"{event.event!r} is not an event of campaign {campaign.id!r}; it has: {known}"
        raise ImpossibleInput([FieldError(field="event", message=message)])
    # Many senders know only whole seconds: an event in the same second as the decision is not before it.
    earliest = decided_at if event.occurred_at.microsecond else decided_at.replace(microsecond=0)
    if event.occurred_at < earliest:
        message = f"{event.occurred_at.isoformat()}: is before the decision at {decided_at.isoformat()}"
        raise ImpossibleInput([FieldError(field="occurred_at", message=message)])
    low, high = campaign.reward.bounds
    if event.value is not None and not low <= event.value <= high:
        message = f"{event.value}: is outside the bounds [{low}, {high}] of campaign {campaign.id!r}"
        raise ImpossibleInput([FieldError(field="value", message=message)])
