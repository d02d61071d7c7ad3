"""The parts of the documents of the wire, apart from the field types of the campaign document."""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from bandit.times import utc_text

MAX_BATCH = 1_000


class Answer(BaseModel):
    """An outgoing document. A field with a default is omitted from documents that do not set it."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)

    def sent(self) -> dict[str, Any]:
        """The document as it is sent, its fields in their order."""
        return self.model_dump(mode="json", exclude_unset=True)


class From(NamedTuple):
    """The place of a field's value in the object that the document describes, as in `From("action.send")`."""

    path: str


def plain(value: object) -> object:
    """The value as JSON has it: a time as text, a member of an enumeration as its value."""
    if isinstance(value, datetime):
        return utc_text(value)
    return value.value if isinstance(value, Enum) else value


def _number(value: object) -> int | float:
    # Unchanged: a float field would give the stored whole number another text.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise PydanticCustomError("number", "is not a number")


Moment = Annotated[str, BeforeValidator(plain), WithJsonSchema({"type": "string", "format": "date-time"})]
Day = Annotated[str, WithJsonSchema({"type": "string", "format": "date"})]
# Ranges are described but not checked: a stored number that cannot be true must still be shown.
Number = Annotated[int | float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
Probability = Annotated[Number, WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1})]
Propensity = Annotated[Number, WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 1})]
Whole = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0})]
