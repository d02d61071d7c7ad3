"""The service's interface as OpenAPI 3.1, and its operations as the documentation page shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

from api.edge.auth import Scope
from api.edge.shared import LISTED, MOST_LISTED
from api.routes.decisions import MAX_KEY_LENGTH
from api.routes.insights import MOST_DAYS
from api.spec.schemas import EXAMPLES, TEXT, Schema, components, ref

ERRORS = {
    400: "The request is malformed; `errors` names each field.",
    401: "No key, or one that is unknown or revoked.",
    403: "The key lacks the scope.",
    404: "Unknown campaign, decision or version.",
    409: "It conflicts with what is stored.",
    413: "The body or the batch is too large.",
    422: "Well-formed, but impossible.",
    429: "The key is over its limit; `Retry-After` says for how long.",
    503: "The store cannot answer; nothing was done. `Retry-After` says when to ask again.",
}
_PATH_NAMES = {
    "campaign_id": "Id of a campaign.",
    "decision_id": "Id of a decision.",
    "user_id": "Id of a user.",
    "version": "Version of a model.",
    "name": "Name of a file.",
}
_WHOLE_PATH_NAMES = ("version",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method at one path."""

    method: str
    path: str
    tag: str
    summary: str
    scope: Scope | None
    body: str | None = None  # name of its schema
    answers: Mapping[int, str]  # name of the schema by status; a name with a slash is the type of what is no JSON
    errors: tuple[int, ...] = ()  # beside those that every operation of its kind has
    parameters: tuple[Schema, ...] = field(default=())

    @property
    def all_errors(self) -> tuple[int, ...]:
        """Statuses of all its problems."""
        of_body = (413,) if self.body else ()
        of_key = (401, 403, 429) if self.scope else ()
        return tuple(sorted({400, *self.errors, *of_body, *of_key, *((503,) if self.scope else ())}))


def _query(name: str, what: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "description": what, "schema": schema}


IDEMPOTENCY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same body gets the same answer for at least 24 h; with another body, 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[ -~]+$"},
    "example": "b3f1c9e0-send-tonight",
}
_LIMIT = _query(
    "limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": LISTED}
)
_DAYS = _query(
    "days",
    "How many days, up to the last one with a final reward.",
    {"type": "integer", "minimum": 1, "maximum": MOST_DAYS},
)
_IF_VERSION = _query("if_version", "The version believed to be current; else 409.", {"type": "integer"})
_CAMPAIGN, _MODEL = "/campaigns/{campaign_id}", "/campaigns/{campaign_id}/models"

OPERATIONS = (
    Operation(
        method="post",
        path="/decide",
        tag="Decisions",
        summary="Decide channel, content and send time, or silence, for one user",
        scope=Scope.DECIDE,
        body="RequestDocument",
        answers={200: "Decision"},
        errors=(404, 409, 422),
        parameters=(IDEMPOTENCY,),
    ),
    Operation(
        method="post",
        path="/decide/batch",
        tag="Decisions",
        summary="Decide for up to 1,000 users; one bad item never fails the others",
        scope=Scope.DECIDE,
        body="DecideBatch",
        answers={200: "Decisions"},
    ),
    Operation(
        method="get",
        path="/decisions/{decision_id}",
        tag="Decisions",
        summary="The receipt of a decision",
        scope=Scope.READ,
        answers={200: "Receipt"},
        errors=(404,),
    ),
    Operation(
        method="get",
        path="/decisions/{decision_id}/explanation",
        tag="Decisions",
        summary="A decision in words, and whether its draw repeats",
        scope=Scope.READ,
        answers={200: "Explanation"},
        errors=(404,),
    ),
    Operation(
        method="get",
        path="/decisions",
        tag="Decisions",
        summary="The latest receipts of a user",
        scope=Scope.READ,
        answers={200: "Receipts"},
        parameters=(_query("user", "Id of the user.", {**TEXT, "minLength": 1}, required=True), _LIMIT),
    ),
    Operation(
        method="post",
        path="/feedback",
        tag="Feedback",
        summary="Say what happened after a decision",
        scope=Scope.FEEDBACK,
        body="FeedbackPayload",
        answers={202: "FeedbackStatus"},
        errors=(404, 422),
    ),
    Operation(
        method="post",
        path="/feedback/batch",
        tag="Feedback",
        summary="Up to 1,000 events; one bad item never fails the others",
        scope=Scope.FEEDBACK,
        body="FeedbackBatch",
        answers={200: "FeedbackStatuses"},
    ),
    Operation(
        method="get",
        path="/campaigns",
        tag="Campaigns",
        summary="Every campaign's current version",
        scope=Scope.READ,
        answers={200: "StoredCampaigns"},
    ),
    Operation(
        method="get",
        path=_CAMPAIGN,
        tag="Campaigns",
        summary="A campaign's current version",
        scope=Scope.READ,
        answers={200: "StoredCampaign"},
        errors=(404,),
    ),
    Operation(
        method="put",
        path=_CAMPAIGN,
        tag="Campaigns",
        summary="Create a campaign, or add a version; an unchanged document adds none",
        scope=Scope.ADMIN,
        body="CampaignBody",
        answers={200: "StoredCampaign", 201: "StoredCampaign"},
        errors=(409,),
        parameters=(_IF_VERSION,),
    ),
    *(
        Operation(
            method="post",
            path=f"{_CAMPAIGN}/{verb}",
            tag="Campaigns",
            summary=summary,
            scope=Scope.ADMIN,
            answers={200: "StoredCampaign"},
            errors=(404,),
        )
        for verb, summary in (("pause", "Decide silence from now on"), ("resume", "Decide again"))
    ),
    Operation(
        method="get",
        path=f"{_CAMPAIGN}/insights",
        tag="Campaigns",
        summary="What a campaign's policies earned and chose, from final rewards",
        scope=Scope.READ,
        answers={200: "Insights"},
        errors=(404,),
        parameters=(_DAYS,),
    ),
    Operation(
        method="get",
        path=_MODEL,
        tag="Models",
        summary="The model versions of a campaign, newest first",
        scope=Scope.READ,
        answers={200: "Models"},
        errors=(404,),
    ),
    Operation(
        method="post",
        path=f"{_MODEL}/{{version}}/promote",
        tag="Models",
        summary="Make a version the champion",
        scope=Scope.ADMIN,
        answers={200: "Model"},
        errors=(404, 409),
    ),
    Operation(
        method="post",
        path=f"{_CAMPAIGN}/rollback",
        tag="Models",
        summary="Go back to the champion before the last promotion",
        scope=Scope.ADMIN,
        answers={200: "Model"},
        errors=(404, 409),
    ),
    Operation(
        method="get",
        path=f"{_CAMPAIGN}/quarantine",
        tag="Models",
        summary="Decisions that no model may learn, and why; the last closed first",
        scope=Scope.READ,
        answers={200: "Quarantine"},
        errors=(404,),
        parameters=(_LIMIT,),
    ),
    Operation(
        method="delete",
        path="/users/{user_id}",
        tag="Users",
        summary="Erase everything that is kept about a user",
        scope=Scope.ADMIN,
        answers={200: "Removed"},
    ),
    Operation(
        method="get",
        path="/healthz",
        tag="Operations",
        summary="Whether the process lives",
        scope=None,
        answers={200: "Alive"},
    ),
    Operation(
        method="get",
        path="/readyz",
        tag="Operations",
        summary="Whether it can commit and decide",
        scope=None,
        answers={200: "Ready"},
        errors=(503,),
    ),
    Operation(
        method="get",
        path="/metrics",
        tag="Operations",
        summary="Metrics in Prometheus's text format",
        scope=Scope.READ,
        answers={200: "text/plain"},
    ),
    Operation(
        method="get",
        path="/",
        tag="Operations",
        summary="The dashboard",
        scope=None,
        answers={200: "text/html"},
    ),
    Operation(
        method="get",
        path="/pages/{name}",
        tag="Operations",
        summary="A part of the dashboard: its style or a script",
        scope=None,
        answers={200: "text/plain"},
        errors=(404,),
    ),
    Operation(
        method="get",
        path="/openapi.json",
        tag="Operations",
        summary="This document",
        scope=None,
        answers={200: "application/json"},
    ),
    Operation(
        method="get",
        path="/docs",
        tag="Operations",
        summary="This document as a page",
        scope=None,
        answers={200: "text/html"},
    ),
)


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "notification send-optimizer",
            "version": version("notification-send-optimizer"),
            "description": "Chooses channel, content and send time, or silence, in one decision; learns online.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": components(),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Made by `sendopt keys create`; not asked for before the first key was made.",
                }
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{operation.method} {operation.path}",
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation.path), *operation.parameters],
        "responses": {
            **{str(status): _answer(name) for status, name in operation.answers.items()},
            **{str(status): _problem(status) for status in operation.all_errors},
        },
    }
    if operation.scope is not None:
        described["description"] = f"Scope `{operation.scope.value}`."
        described["security"] = [{"key": [operation.scope.value]}]
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": _content(operation.body)}}
    return described


def _path_parameters(path: str) -> list[Schema]:
    names = [step[1:-1] for step in path.split("/") if step.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_NAMES[name],
            "schema": {"type": "integer", "minimum": 0} if name in _WHOLE_PATH_NAMES else {**TEXT, "minLength": 1},
        }
        for name in names
    ]


def _content(name: str) -> Schema:
    return {"schema": ref(name), **({"example": EXAMPLES[name]} if name in EXAMPLES else {})}


def _answer(name: str) -> Schema:
    if "/" in name:
        return {"description": "As asked for.", "content": {name: {}}}
    return {"description": "As asked for.", "content": {"application/json": _content(name)}}


def _problem(status: int) -> Schema:
    described: Schema = {"description": ERRORS[status], "content": {"application/problem+json": _content("Problem")}}
    if status in (429, 503):
        described["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
    return described
