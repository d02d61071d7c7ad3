"""JSON <-> domain: parsed once, at the edge. Nothing behind this module sees JSON."""

from collections.abc import Sequence
from typing import Any, TypeVar

import orjson

from bandit.campaign.fields import StrictModel, validated, validated_text
from bandit.domain import DecideRequest, Feedback
from bandit.errors import FieldError, InvalidInput
from bandit.wire.feedback import FeedbackDocument
from bandit.wire.fields import MAX_BATCH
from bandit.wire.request import RequestDocument

Document = TypeVar("Document", bound=StrictModel)


def parse_decide(body: bytes) -> DecideRequest:
    """The request of a JSON body; raises InvalidInput with all faults of the body."""
    return _document(RequestDocument, body).to_domain(body.decode())


def parse_feedback(body: bytes, source: str | None) -> Feedback:
    """The event of a JSON body, as sent under the API key `source`; raises InvalidInput as `parse_decide` does."""
    return _document(FeedbackDocument, body).to_domain(source)


def _document(model: type[Document], body: bytes) -> Document:
    """The model of a body. It is read by orjson, because pydantic ignores a NaN under a key that comes twice."""
    try:
        document = read_json(body)
    except InvalidInput:
        validated_text(model, body)  # in most cases this raises as well, and names the field of the NaN
        raise
    return validated(model, document)


def read_json(body: bytes) -> Any:
    """The document of a JSON body; raises InvalidInput if it is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput([FieldError(field="body", message=f"is not JSON: {error}")]) from None


def batch_items(body: bytes, batch: type[StrictModel]) -> list[Any]:
    """The items of a batch, which is an object with one field, a list.

    Raises:
        InvalidInput: anything else, or more than 1,000 items.
    """
    (field,) = batch.model_fields
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
    """A batch has more items than are allowed at once."""

    def __init__(self, field: str, size: int) -> None:
        message = f"{size} items are more than the {MAX_BATCH} that are allowed at once"
        super().__init__([FieldError(field=field, message=message)])


def results(documents: Sequence[bytes]) -> bytes:
    """The answer to a batch, from the answers to its items."""
    return b'{"results":[' + b",".join(documents) + b"]}"
