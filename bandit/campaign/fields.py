"""Types of the fields of every incoming document: allowed values, and messages for other values."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic.config import JsonDict
from pydantic_core import ErrorDetails, PydanticCustomError

from bandit.domain import FeatureValue
from bandit.errors import FieldError, InvalidInput

MAX_FEATURES = 200
MOST_ERRORS = 100
MAX_EMBEDDING = 128
MAX_NUMBER = 1e15  # beyond this, float arithmetic on a feature or a reward is not exact to the unit
MAX_TEXT = 1_024
SMALLEST_UNIT = 1e-6  # of rewards
YEAR_HOURS = 24 * 366

# A tuple from any list: JSON has no tuples, and a strict tuple would refuse the list of a parser.
AS_TUPLE = Field(strict=False)


def about(
    what: str, *, example: object = ..., unit: str | None = None, rule: str | None = None, why: str | None = None
) -> Any:
    """The description of a field in addition to its type, for OpenAPI and for the generated reference.

    Args:
        what: what the field contains, in one or two sentences.
        example: example of its value; omitted if the examples of its parts make one.
        unit: unit of its number.
        rule: rule about other fields, which its type cannot express.
        why: why the field exists, in one sentence.
    """
    extra = {"x-unit": unit, "x-rule": rule, "x-why": why}
    told: JsonDict = {name: text for name, text in extra.items() if text is not None}
    return Field(description=what, examples=None if example is ... else [example], json_schema_extra=told)


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _without_control(text: str) -> str:
    # A NUL cannot be stored in PostgreSQL; the other control characters break logs and terminals.
    if not text.isprintable() and _CONTROL.search(text):  # the first check alone is faster, and refuses more
        raise PydanticCustomError("control_character", "contains a control character")
    return text


def _feature_value(value: object) -> FeatureValue:
    """The value, a list as a tuple. It is one function, so that a wrong value is one error, not one error per type."""
    if isinstance(value, list | tuple):
        most = MAX_FEATURES if all(isinstance(member, str) for member in value) else MAX_EMBEDDING
        if len(value) > most:
            raise PydanticCustomError("list_too_long", "is longer than {most}", {"most": most})
        return _frozen_list(value)
    return _scalar(value)


def _frozen_list(values: Sequence[object]) -> tuple[str, ...] | tuple[float, ...]:
    members = [_scalar(member) for member in values]
    texts = tuple(member for member in members if isinstance(member, str))
    numbers = tuple(member for member in members if isinstance(member, int | float) and not isinstance(member, bool))
    if len(members) not in (len(texts), len(numbers)):
        raise PydanticCustomError("mixed_list", "is neither a list of strings nor a list of numbers")
    return texts or numbers


def _scalar(value: object) -> str | float | bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise PydanticCustomError("text_too_long", "is longer than {most} characters", {"most": MAX_TEXT})
        return _without_nul(value)
    if isinstance(value, int | float):
        if not abs(value) <= MAX_NUMBER:  # false for NaN as well
            raise PydanticCustomError("number", "is not a finite number within 1e15")
        return value
    raise PydanticCustomError("feature_type", "is not a string, number, boolean, list of strings or list of numbers")


def _engine_value(value: object) -> str | float | bool:
    """The value of a parameter; the check of the parameter itself decides which values are allowed."""
    if isinstance(value, str | int | float | bool):
        return value
    raise PydanticCustomError("engine_value", "is not a string, number or boolean")


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul", "contains a NUL character, which PostgreSQL cannot store")
    return text


# The rules of the validators that are functions, for readers of the schema.
_TEXT_SCHEMA: dict[str, Any] = {"type": "string", "maxLength": MAX_TEXT, "pattern": "^[^\\x00]*$"}
_NUMBER_SCHEMA: dict[str, Any] = {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}
_FEATURE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        _TEXT_SCHEMA,
        _NUMBER_SCHEMA,
        {"type": "boolean"},
        {"type": "array", "items": _TEXT_SCHEMA, "maxItems": MAX_FEATURES},
        {"type": "array", "items": _NUMBER_SCHEMA, "maxItems": MAX_EMBEDDING},
    ]
}
_ENGINE_SCHEMA: dict[str, Any] = {"anyOf": [{"type": kind} for kind in ("string", "number", "boolean")]}

EngineValue = Annotated[str | int | float | bool, PlainValidator(_engine_value), WithJsonSchema(_ENGINE_SCHEMA)]
Identifier = Annotated[
    str,
    Field(min_length=1, max_length=255, json_schema_extra={"pattern": "^[^\\x00-\\x1f\\x7f]+$"}),
    AfterValidator(_without_control),
]
FeatureTable = Annotated[
    dict[
        Identifier,
        # Serialized unchanged: otherwise pydantic makes a list of a tuple, compares it with the tuple's type, and
        # warns.
        Annotated[
            FeatureValue,
            PlainValidator(_feature_value),
            PlainSerializer(lambda value: value),
            WithJsonSchema(_FEATURE_SCHEMA),
        ],
    ],
    Field(max_length=MAX_FEATURES),
]


def _within_calendar(instant: datetime) -> datetime:
    # With a margin at both ends of the range of databases and zone arithmetic.
    if not 1970 <= instant.year < 2200:
        raise PydanticCustomError("instant", "is not between the years 1970 and 2200")
    return instant


_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _rfc_3339(value: object) -> object:
    # pydantic alone would also take seconds since 1970 in a string, and times without seconds.
    if isinstance(value, str) and _RFC_3339.fullmatch(value):
        return value
    raise PydanticCustomError("rfc_3339", "is not an RFC 3339 time with an offset, as in 2026-11-20T17:03:00Z")


Instant = Annotated[
    AwareDatetime,
    Field(strict=False),  # the check before sees the text, which is parsed only afterwards
    BeforeValidator(_rfc_3339),
    AfterValidator(_within_calendar),
]
ClockTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
EndOfClockTime = Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
Hour = Annotated[int, Field(ge=0, le=23)]
Hours = Annotated[float, Field(gt=0, le=YEAR_HOURS, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False, ge=-MAX_NUMBER, le=MAX_NUMBER)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class StrictModel(BaseModel):
    """A model that refuses unknown fields, coerces no types, and is immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Model = TypeVar("Model", bound=StrictModel)


def validated(model: type[Model], document: object) -> Model:
    """The model of a document that was read from JSON, or that has the same types.

    Raises:
        InvalidInput: with every fault of the document, each by its path and rule.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InvalidInput(field_errors(error)) from None


def validated_text(model: type[Model], text: str | bytes) -> Model:
    """The model of a JSON text; errors as in `validated`, and for text that is not JSON."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise InvalidInput(field_errors(error)) from None


def field_errors(error: ValidationError) -> list[FieldError]:
    """The failures of a pydantic validation by path, value and rule; the first hundred, as a hostile body has more."""
    failures = error.errors(include_url=False, include_context=False)
    return [_field_error(details) for details in failures[:MOST_ERRORS]]


# In terms of JSON: pydantic names Python types if the document was read before.
_MESSAGES: Mapping[str, str] = MappingProxyType(
    {
        "tuple_type": "Input should be a valid array",
        "model_type": "Input should be an object",
        "dict_type": "Input should be an object",
    }
)
# Steps of pydantic's paths that are not places in the document: branches of unions, and the mark of keys.
_NO_PLACE = frozenset({"<id>", "<content>", "<words>", "<window>", "[key]"})


def _field_error(details: ErrorDetails) -> FieldError:
    path = ".".join(str(step) for step in details["loc"] if step not in _NO_PLACE) or "body"
    value, message = details["input"], _MESSAGES.get(details["type"], details["msg"])
    if details["type"] in ("missing", "json_invalid") or isinstance(value, dict | list | BaseModel):
        return FieldError(field=path, message=message)
    return FieldError(field=path, message=f"{_shown(value)}: {message}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
