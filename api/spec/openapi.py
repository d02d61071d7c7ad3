"""The service's interface as OpenAPI 3.1, generated from the declarations of its routes and documents."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, get_args

from flask import Flask
from pydantic import BaseModel
from werkzeug.routing import Rule

from api.edge.auth import Scope, declared_scopes
from api.edge.operations import Answered, Operation, Parameter, Tag, declared_operation
from api.spec.schemas import Schema, components, example_of, ref
from bandit.wire.service import Problem

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
_NAME = re.compile(r"<(?:(\w+):)?(\w+)>")  # a variable in a rule of Flask: its converter, if there is one, and its name
_PATH_NAMES = {
    "campaign_id": ("Id of a campaign.", "reengage"),
    "decision_id": ("Id of a decision.", "01JD4CTE7M3K6ZQ2V9XW5R8YAB"),
    "user_id": ("Id of a user.", "u-123"),
    "version": ("Version of a model.", 12),
    "name": ("Name of a file.", "dashboard.css"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method at one path, and the declaration of its view."""

    method: str
    path: str
    scope: Scope | None
    operation: Operation
    path_parameters: tuple[Schema, ...]

    @property
    def all_errors(self) -> tuple[int, ...]:
        """Statuses of all its problems."""
        of_body = (413,) if self.operation.body else ()
        of_key = (401, 403, 429, 503) if self.scope else ()
        return tuple(sorted({400, *self.operation.errors, *of_body, *of_key}))


def routes(app: Flask) -> list[Route]:
    """Every route of the application, by tag."""
    scopes, tags = declared_scopes(app.view_functions), get_args(Tag)
    found = [_route(app, scopes, rule, method) for rule in app.url_map.iter_rules() for method in _methods(rule)]
    return sorted(found, key=lambda route: tags.index(route.operation.tag))


def _methods(rule: Rule) -> Iterator[str]:
    yield from sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})


def _route(app: Flask, scopes: Mapping[str, Scope | None], rule: Rule, method: str) -> Route:
    return Route(
        method=method.lower(),
        path=_NAME.sub(r"{\2}", rule.rule),
        scope=scopes[rule.endpoint],
        operation=declared_operation(app.view_functions[rule.endpoint]),
        path_parameters=tuple(_path_parameters(rule.rule)),
    )


def _path_parameters(rule: str) -> Iterator[Schema]:
    for kind, name in _NAME.findall(rule):
        what, example = _PATH_NAMES[name]
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": what,
            "schema": {"type": "integer", "minimum": 0} if kind == "int" else {"type": "string", "minLength": 1},
            "example": example,
        }


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of the application."""
    found = routes(app)
    schemas = components(sorted(_models(found), key=lambda model: model.__name__))
    paths: dict[str, dict[str, Any]] = {}
    for route in found:
        paths.setdefault(route.path, {})[route.method] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "notification send-optimizer",
            "version": version("notification-send-optimizer"),
            "description": "Chooses channel, content and send time, or silence, in one decision; learns online.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(route.operation.tag for route in found)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Made by `sendopt keys create`; not asked for before the first key was made.",
                }
            },
        },
    }


def _models(found: Iterable[Route]) -> set[type[BaseModel]]:
    """Every document of a request or an answer."""
    documents = [one for route in found for one in (route.operation.body, *route.operation.answers.values())]
    return {Problem, *(one for one in documents if one is not None and not isinstance(one, tuple))}


def _operation(route: Route, schemas: dict[str, Schema]) -> dict[str, Any]:
    operation = route.operation
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [*route.path_parameters, *map(_parameter, operation.parameters)],
        "responses": {
            **{str(status): _answer(answer, schemas) for status, answer in operation.answers.items()},
            **{str(status): _problem(status, schemas) for status in route.all_errors},
        },
    }
    if route.scope is not None:
        described["description"] = f"Scope `{route.scope.value}`."
        described["security"] = [{"key": [route.scope.value]}]
    if operation.body is not None:
        content = {"application/json": _content(operation.body, schemas)}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameter(parameter: Parameter) -> Schema:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.what,
        "schema": parameter.schema,
        "example": parameter.example,
    }


def _content(model: type[BaseModel], schemas: dict[str, Schema]) -> Schema:
    name = model.__name__
    return {"schema": ref(name), "example": example_of(name, schemas)}


def _answer(answer: Answered, schemas: dict[str, Schema]) -> Schema:
    if isinstance(answer, tuple):
        return {"description": "As asked for.", "content": {kind: {} for kind in answer}}
    return {"description": "As asked for.", "content": {"application/json": _content(answer, schemas)}}


def _problem(status: int, schemas: dict[str, Schema]) -> Schema:
    content = {"application/problem+json": _content(Problem, schemas)}
    described: Schema = {"description": ERRORS[status], "content": content}
    if status in (429, 503):
        described["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
    return described
