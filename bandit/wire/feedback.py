"""Feedback: an event after a decision, and the answer to it."""

from functools import lru_cache
from typing import Annotated

import orjson
from pydantic import Field

from bandit.campaign.fields import AS_TUPLE, Finite, Identifier, Instant, StrictModel, about, validated
from bandit.domain import DecisionId, Feedback, FeedbackStatus
from bandit.wire.fields import MAX_BATCH, Answer
from bandit.wire.service import Problem


class FeedbackDocument(StrictModel):
    """One event after a decision."""

    decision_id: Annotated[Identifier, about("Id of the decision.", example="01JD4CTE7M3K6ZQ2V9XW5R8YAB")]
    event: Annotated[
        Identifier,
        about(
            "An event that the campaign's reward names; or delivered, failed, cancelled (the last two: the message did "
            "not go out); or reward, which carries a number of its own.",
            example="clicked",
        ),
    ]
    occurred_at: Annotated[Instant, about("When it happened; not before the decision.", example="2026-11-20T23:11:09Z")]
    value: Annotated[
        Finite | None,
        about(
            "The number of the event `reward`, within the campaign's bounds; kept with any other event.", example=1.0
        ),
    ] = None
    event_id: Annotated[
        Identifier | None,
        about(
            "The sender's own id of the event: a repeat is a duplicate. Absent: event and time identify it.",
            example="e-77",
        ),
    ] = None

    def to_domain(self, source: str | None) -> Feedback:
        """The event, as sent under the API key `source`."""
        return Feedback(
            decision_id=DecisionId(self.decision_id),
            event=self.event,
            occurred_at=self.occurred_at,
            value=self.value,
            event_id=self.event_id,
            source=source,
        )


class FeedbackBatch(StrictModel):
    """Events that are sent together."""

    events: Annotated[
        tuple[FeedbackDocument, ...],
        AS_TUPLE,
        Field(max_length=MAX_BATCH),
        about("The events, each with its own answer."),
    ]


class FeedbackAnswer(Answer):
    """The answer to an event."""

    status: Annotated[
        FeedbackStatus,
        about(
            "accepted; duplicate: known already; late: stored and counted, but not in the reward.", example="accepted"
        ),
    ]


class FeedbackAnswers(Answer):
    """The answers to the events of a batch, in order."""

    results: Annotated[list[FeedbackAnswer | Problem], about("Per event what became of it, or the problem with it.")]


def event_of(document: object, source: str | None) -> Feedback:
    """The event of a document that was read from JSON, as sent under the API key `source`.

    Raises:
        InvalidInput: with every fault of the document, each by its path and rule.
    """
    return validated(FeedbackDocument, document).to_domain(source)


@lru_cache(maxsize=len(FeedbackStatus))
def render_status(status: FeedbackStatus) -> bytes:
    """The bytes of the answer to an event."""
    return orjson.dumps(FeedbackAnswer(status=status).sent())
