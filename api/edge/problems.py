"""Errors as `application/problem+json`: the one table from our errors to HTTP."""

from collections.abc import Sequence

import orjson
import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from api.edge.auth import Forbidden, TooManyRequests, Unauthenticated
from api.edge.payloads import BatchTooLarge
from bandit.errors import (
    Conflict,
    FieldError,
    ImpossibleInput,
    InvalidInput,
    NotFound,
    RejectedInput,
    SendoptError,
    StoreUnavailable,
    UnknownTimeZone,
    UnreadableCampaign,
)
from bandit.wire.service import FieldProblem, Problem

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 1

# First match wins: narrower classes come before wider ones.
STATUSES: tuple[tuple[type[SendoptError], int, str], ...] = (
    (BatchTooLarge, 413, "Batch too large"),
    (InvalidInput, 400, "Invalid input"),
    (UnknownTimeZone, 400, "Unknown time zone"),
    (ImpossibleInput, 422, "Impossible input"),
    (NotFound, 404, "Not found"),
    (Conflict, 409, "Conflict"),
    (Unauthenticated, 401, "No key"),
    (Forbidden, 403, "Not allowed"),
    (TooManyRequests, 429, "Too many requests"),
    (UnreadableCampaign, 500, "Unreadable campaign"),
    (StoreUnavailable, 503, "Store unavailable"),
)

log = structlog.get_logger(__name__)


def problem(status: int, title: str, detail: str, errors: Sequence[FieldError] = ()) -> bytes:
    """The bytes of a problem document (RFC 9457)."""
    named = [FieldProblem(field=error.field, message=error.message) for error in errors]
    document = Problem(type="about:blank", title=title, status=status, detail=detail, errors=named)
    return orjson.dumps(document.sent())


def problem_of(error: SendoptError) -> tuple[int, bytes]:
    """Status and problem document of one of our errors."""
    errors = error.errors if isinstance(error, RejectedInput) else ()
    for kind, status, title in STATUSES:
        if isinstance(error, kind):
            return status, problem(status, title, str(error), errors)
    log.error("unexpected_error", error=str(error), kind=type(error).__name__)
    return 500, problem(500, "Internal error", "The service failed; the error is in its log.")


def problem_response(status: int, body: bytes) -> Response:
    response = Response(body, status=status, content_type=CONTENT_TYPE)
    if status == 503:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def register(app: Flask) -> None:
    """Makes every error of the app a problem document."""
    app.register_error_handler(SendoptError, _ours)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _ours(error: SendoptError) -> Response:
    response = problem_response(*problem_of(error))
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    response = problem_response(status, problem(status, error.name, error.description or error.name))
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _unexpected(error: Exception) -> Response:
    log.exception("unexpected_error", kind=type(error).__name__)
    return problem_response(500, problem(500, "Internal error", "The service failed; the error is in its log."))
