"""What a route says of itself, beside the scope that it needs: the OpenAPI document is made of it."""

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
    """What a route takes and answers."""

    name: str  # an identifier: the OpenAPI operationId, and so a method of generated clients
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
    """Declares what a view takes and answers; the operation has the view's name."""

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
    """What the view declares; raises AttributeError for one that declares nothing."""
    found: Operation = getattr(view, _MARK)
    return found
