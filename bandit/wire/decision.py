"""A decision as it is answered. Only this file lists its fields: receipts, simulation and OpenAPI use them."""

from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any

import orjson

from bandit.campaign.fields import about
from bandit.domain import Action, Decision, Policy, Reason
from bandit.wire.fields import Answer, From, Moment, Propensity, Whole, plain
from bandit.wire.service import Problem


class DecisionNames(Answer):
    """The fields that identify a decision."""

    decision_id: Annotated[
        str, From("id"), about("Id of the decision, for feedback and receipt.", example="01JD4CTE7M3K6ZQ2V9XW5R8YAB")
    ]
    campaign: Annotated[str, about("Id of the campaign.", example="reengage")]


class Sends(Answer):
    """Whether anything is sent."""

    send: Annotated[bool, From("action.send"), about("Whether a message is to be sent.", example=True)]


class ActionDocument(Answer):
    """A channel, a content and a send time; or silence, if all three are null."""

    channel: Annotated[str | None, From("action.channel"), about("Channel; null: silence.", example="push")]
    content: Annotated[str | None, From("action.content"), about("Id of the content; null: silence.", example="streak")]
    send_at: Annotated[
        Moment | None,
        From("action.send_at"),
        about("When to send; null: silence.", example="2026-11-20T23:00:00Z"),
    ]


class DecisionBody(ActionDocument, Sends):
    """How a decision was made."""

    propensity: Annotated[
        Propensity,
        about("Probability with which this action was drawn, given the eligible actions.", example=0.137),
    ]
    policy: Annotated[Policy, about("Name of the policy that drew the action.", example="learned")]
    model_version: Annotated[Whole, about("Version of the model; 0 before anything was learned.", example=12)]
    decided_at: Annotated[Moment, about("When it was decided.", example="2026-11-20T17:03:00Z")]
    reward_deadline: Annotated[Moment, about("Until when feedback counts.", example="2026-11-22T17:03:00Z")]
    reason: Annotated[Reason | None, about("Why nothing is sent; null when something is.", example=None)]


class DecisionDocument(DecisionBody, DecisionNames):
    """The answer to a request: an action, or silence, and the probability with which it was drawn."""


class Decisions(Answer):
    """The answers to a batch, in order."""

    results: Annotated[list[DecisionDocument | Problem], about("Per request its decision, or the problem with it.")]


def _paths() -> Iterator[str]:
    for name, field in DecisionDocument.model_fields.items():
        yield next((found.path for found in field.metadata if isinstance(found, From)), name)


_NAMES = tuple(DecisionDocument.model_fields)
_VALUES = attrgetter(*_paths())


def decision_document(decision: Decision) -> dict[str, Any]:
    """A decision as it is answered."""
    return {name: plain(value) for name, value in zip(_NAMES, _VALUES(decision), strict=True)}


def render_decision(decision: Decision) -> bytes:
    """The bytes of a decision as it is answered: the JSON of `decision_document`, written in one step."""
    return orjson.dumps(dict(zip(_NAMES, _VALUES(decision), strict=True)), option=orjson.OPT_UTC_Z)


def action_document(action: Action) -> dict[str, Any]:
    """An action as decisions and receipts show it."""
    return {name: plain(getattr(action, name)) for name in ActionDocument.model_fields}


def action_of(document: dict[str, Any]) -> Action:
    """The action of a decision, or of any document with the fields of an action."""
    send_at = document["send_at"]
    return Action(
        channel=document["channel"],
        content=document["content"],
        send_at=None if send_at is None else datetime.fromisoformat(send_at),
    )
