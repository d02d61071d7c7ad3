"""What every route uses: the shared state, and answers as JSON."""

from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, current_app, request

from bandit.errors import FieldError, InvalidInput

if TYPE_CHECKING:
    from api.app import Serving

EXTENSION = "sendopt"
BODY_BYTES = 256 * 1024
BATCH_BYTES = 8 * 1024 * 1024


def shared() -> "Serving":
    """What the routes of the current application share."""
    found: Serving = current_app.extensions[EXTENSION]
    return found


def answer(document: bytes | dict[str, Any], *, status: int = 200) -> Response:
    """A JSON answer."""
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return Response(body, status=status, content_type="application/json")


def batch_body() -> bytes:
    """The body of a request that may carry many items."""
    request.max_content_length = BATCH_BYTES
    return request.get_data()


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
