"""The shared state of the routes, and JSON answers."""

from dataclasses import dataclass
from typing import Any

import orjson
from flask import Response, current_app, request
from werkzeug.exceptions import RequestEntityTooLarge

from api.edge.grouping import Grouped
from api.edge.kept import Kept
from api.edge.operations import Parameter
from api.edge.poller import ModelPoller
from api.edge.repeat import Repeated
from bandit.domain import Feedback
from bandit.errors import FieldError, InvalidInput
from bandit.serve.decisions import Ask
from bandit.serve.decisions import Outcome as DecideOutcome
from bandit.serve.feedback import Outcome as FeedbackOutcome
from bandit.service import Service
from bandit.settings import Settings
from bandit.wire.fields import Answer
from bandit.wire.service import Ready

EXTENSION = "sendopt"
BODY_BYTES = 256 * 1024
BATCH_BYTES = 8 * 1024 * 1024
LISTED, MOST_LISTED = 20, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The state that the routes of one application share."""

    settings: Settings
    service: Service
    decisions: Grouped[Ask, DecideOutcome]
    feedback: Grouped[Feedback, FeedbackOutcome]
    poller: ModelPoller
    readiness: Kept[Ready | bytes]  # or the problem document that says why not
    sharing: Repeated | None  # for the counts, if there are several serving processes

    def close(self) -> None:
        """Stops the background work and closes the database."""
        self.poller.stop()
        if self.sharing is not None:
            self.sharing.stop()
        self.service.store.close()


def shared() -> Serving:
    """The shared state of the current application."""
    found: Serving = current_app.extensions[EXTENSION]
    return found


def answer(document: bytes | dict[str, Any] | Answer, *, status: int = 200) -> Response:
    """A JSON answer."""
    body = document if isinstance(document, bytes) else orjson.dumps(_sent(document))
    return Response(body, status=status, content_type="application/json")


def _sent(document: dict[str, Any] | Answer) -> dict[str, Any]:
    return document.sent() if isinstance(document, Answer) else document


def body(most: int = BODY_BYTES) -> bytes:
    """The whole body of the request; raises RequestEntityTooLarge if it is longer than `most` bytes."""
    if (request.content_length or 0) > most:
        raise _too_large(most)
    # One byte more, because werkzeug cuts off a body without a Content-Length at the limit, without an error.
    request.max_content_length = most + 1
    data = request.get_data()
    if len(data) > most:
        raise _too_large(most)
    return data


def _too_large(most: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"body: is longer than {most} bytes")


def refuse_nul() -> None:
    """Raises InvalidInput for an address with a NUL character: no id has one, and PostgreSQL cannot compare it."""
    if "\0" in request.path or b"%00" in request.query_string:
        raise InvalidInput([FieldError(field="address", message="contains a NUL character")])


def whole_number(name: str, *, default: int, most: int) -> int:
    """A query parameter from 1 to `most`.

    Raises:
        InvalidInput: it is anything else.
    """
    text = request.args.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise InvalidInput([FieldError(field=name, message=f"{text!r} is not a whole number from 1 to {most}")])
    return int(text)


LIMIT = Parameter(
    name="limit",
    place="query",
    what="How many at most.",
    schema={"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": LISTED},
    example=LISTED,
)


def how_many() -> int:
    """The `limit` of a list; raises InvalidInput as `whole_number` does."""
    return whole_number("limit", default=LISTED, most=MOST_LISTED)
