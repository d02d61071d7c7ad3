"""JSON <-> domain: parsed once, at the edge. Nothing behind this module sees JSON."""

from collections.abc import Sequence
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from bandit.campaign.fields import Finite, Identifier, Instant, StrictModel, field_errors
from bandit.decide.logged import utc_text
from bandit.domain import DecideRequest, Decision, DecisionId, Feedback
from bandit.errors import FieldError, InvalidInput
from bandit.wire import RequestDocument

MAX_BATCH = 1_000

Payload = TypeVar("Payload", bound=StrictModel)


class FeedbackPayload(StrictModel):
    decision_id: Identifier
    event: Identifier
    occurred_at: Instant
    value: Finite | None = None
    event_id: Identifier | None = None

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


def parse_decide(body: bytes) -> DecideRequest:
    """The request of a JSON body; raises InvalidInput with everything that is wrong in it."""
    return _validated(RequestDocument, body).to_domain(body.decode())


def parse_feedback(body: bytes, source: str | None) -> Feedback:
    """The event of a JSON body; raises InvalidInput with everything that is wrong in it."""
    return _validated(FeedbackPayload, body).to_domain(source)


def _validated(model: type[Payload], body: bytes) -> Payload:
    try:
        payload = model.model_validate_json(body)
    except ValidationError as error:
        raise InvalidInput(field_errors(error)) from None
    read_json(body)  # pydantic passes over a NaN under a key that comes again; a receipt, which quotes it, could not
    return payload


def read_json(body: bytes) -> Any:
    """The document of a JSON body; raises InvalidInput when it is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput([FieldError(field="body", message=f"is not JSON: {error}")]) from None


def write_json(document: Any) -> bytes:
    """The JSON text of a part of a body; raises InvalidInput when it is nested too deep."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError as error:
        raise InvalidInput([FieldError(field="body", message=f"cannot be read: {error}")]) from None


def batch_items(body: bytes, field: str) -> list[Any]:
    """The items of a batch, which is an object with the one field.

    Raises:
        InvalidInput: anything else, or more than 1,000 items.
    """
    document = read_json(body)
    if not isinstance(document, dict) or not isinstance(document.get(field), list):
        raise InvalidInput([FieldError(field=field, message="is missing or is not a list")])
    unknown = sorted(document.keys() - {field})
    if unknown:
        raise InvalidInput([FieldError(field=name, message="is not a field of a batch") for name in unknown])
    items: list[Any] = document[field]
    if len(items) > MAX_BATCH:
        raise BatchTooLarge(field, len(items))
    return items


class BatchTooLarge(InvalidInput):
    """A batch has more items than are taken at once."""

    def __init__(self, field: str, size: int) -> None:
        message = f"{size} items are more than the {MAX_BATCH} that are taken at once"
        super().__init__([FieldError(field=field, message=message)])


def decision_document(decision: Decision) -> dict[str, Any]:
    """A decision as it is answered."""
    action = decision.action
    return {
        "decision_id": decision.id,
        "campaign": decision.campaign,
        "send": action.send,
        "channel": action.channel,
        "content": action.content,
        "send_at": None if action.send_at is None else utc_text(action.send_at),
        "propensity": decision.propensity,
        "policy": decision.policy.value,
        "model_version": decision.model_version,
        "decided_at": utc_text(decision.decided_at),
        "reward_deadline": utc_text(decision.reward_deadline),
        "reason": None if decision.reason is None else decision.reason.value,
    }


def render_decision(decision: Decision) -> bytes:
    """The bytes of a decision as it is answered."""
    return orjson.dumps(decision_document(decision))


def results(documents: Sequence[bytes]) -> bytes:
    """The answer to a batch, from the answers to its items."""
    return b'{"results":[' + b",".join(documents) + b"]}"
