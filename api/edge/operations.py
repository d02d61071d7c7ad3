"""The declaration of a route, apart from its scope; the OpenAPI document is generated from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

View = TypeVar("View", bound=Callable[..., object])
Tag = Literal["Decisions", "Feedback", "Campaigns", "Models", "Users", "Operations"]
Schema = dict[str, Any]
Answered = type[BaseModel] | tuple[str, ...]  # the JSON document, or the content types of what is none

_MARK = "_sendopt_operation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A query parameter or a header."""

    name: str
    place: Literal["query", "header"]
    what: str
    schema: Schema
    example: object
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """The input and the answers of a route."""

    name: str  # an identifier: the OpenAPI operationId, and so the name of a method in generated clients
    tag: Tag
    summary: str
    body: type[BaseModel] | None
    answers: Mapping[int, Answered]  # by status
    errors: tuple[int, ...]  # statuses of problems beside those that every operation of its kind has
    parameters: tuple[Parameter, ...]


def describes(
    tag: Tag,
    summary: str,
    *,
    answers: Mapping[int, Answered],
    body: type[BaseModel] | None = None,
    errors: tuple[int, ...] = (),
    parameters: tuple[Parameter, ...] = (),
) -> Callable[[View], View]:
    """Declares the input and the answers of a view; the operation has the view's name."""

    def marked(view: View) -> View:
        operation = Operation(
            name=view.__name__,
            tag=tag,
            summary=summary,
            body=body,
            answers=answers,
            errors=errors,
            parameters=parameters,
        )
        setattr(view, _MARK, operation)
        return view

    return marked


def declared_operation(view: Callable[..., object]) -> Operation:
    """The declaration of the view; raises AttributeError if there is none."""
    found: Operation = getattr(view, _MARK)
    return found
