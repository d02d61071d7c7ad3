"""Problems, the service's health, and the result of an erasure."""

from typing import Annotated, Literal

from pydantic import Field

from bandit.campaign.fields import about
from bandit.wire.fields import Answer, Whole


class FieldProblem(Answer):
    """The fault of one field."""

    field: Annotated[str, about("Dotted path of the field, or the name of a parameter.", example="user.timezone")]
    message: Annotated[
        str, about("The value and the rule that it breaks.", example="'Mars/Base': unknown time zone 'Mars/Base'")
    ]


class Problem(Answer):
    """Why a request was refused (RFC 9457)."""

    type: Annotated[str, about("Always about:blank: the status says what kind it is.", example="about:blank")]
    title: Annotated[str, about("The kind in words.", example="Invalid input")]
    status: Annotated[int, Field(ge=400, le=599), about("The HTTP status.", example=400)]
    detail: Annotated[
        str,
        about("What is wrong, in one text.", example="user.timezone: 'Mars/Base': unknown time zone 'Mars/Base'"),
    ]
    errors: Annotated[list[FieldProblem], about("What is wrong, by field; may be empty.")]


class Alive(Answer):
    """The process lives."""

    status: Annotated[Literal["alive"], about("Always alive.", example="alive")]


class Ready(Answer):
    """The service can commit and decide."""

    status: Annotated[Literal["ready"], about("Always ready; otherwise the answer is a problem.", example="ready")]
    models: Annotated[
        dict[str, str],
        about(
            "By campaign that this process has served: the version in use, or `fallback` where none loads.",
            example={"reengage": "version 12"},
        ),
    ]


class RemovedRows(Answer):
    """Number of removed rows, by their contents."""

    feedback: Annotated[Whole, about("Feedback events.", example=3)]
    sends: Annotated[Whole, about("Reserved or made sends.", example=2)]
    open_decisions: Annotated[Whole, about("Places in the queue of open rewards.", example=1)]
    closings: Annotated[Whole, about("Places in the sequence of closed decisions.", example=4)]
    final_rewards: Annotated[Whole, about("Final rewards.", example=4)]
    quarantine: Annotated[Whole, about("Decisions in quarantine.", example=0)]
    idempotency: Annotated[Whole, about("Answers kept for repeated requests.", example=1)]
    decisions: Annotated[Whole, about("Decisions.", example=5)]


class Removed(Answer):
    """The result of erasing a user."""

    user: Annotated[str, about("Id of the user.", example="u-123")]
    removed: Annotated[RemovedRows, about("How many rows were removed.")]
