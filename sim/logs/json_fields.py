"""The fields of one JSON line, each of which must be of its type."""

from dataclasses import dataclass
from typing import Any

import orjson

from bandit.errors import InvalidLog
from sim.logs.cells import shown
from sim.logs.event import Document


def parsed(row: int, line: bytes) -> Document:
    """The object of a line that begins like one.

    Raises:
        InvalidLog: it is broken.
    """
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidLog(f"row {row}: is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidLog(f"row {row}: is not an object")
    return document


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of an object of a row."""

    row: int
    document: Document
    within: str = ""  # what stands before a field's name in a message

    def needed(self, name: str, kind: Any) -> Any:
        """The field, which must be there and of that type.

        Raises:
            InvalidLog: with the row, the field, the value and the rule.
        """
        if name not in self.document:
            raise InvalidLog(f"row {self.row}: {self.within}{name}: is missing")
        value = self.document[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.fault(name, value, "is not of the type that dsjson has there")
        return value

    def optional(self, name: str, kind: Any) -> Any:
        """The same; None where it is not there or null."""
        return None if self.document.get(name) is None else self.needed(name, kind)

    def fault(self, name: str, value: object, rule: str) -> InvalidLog:
        """The error that says what is wrong with a field."""
        return InvalidLog(f"row {self.row}: {self.within}{name}: {shown(value)}: {rule}")
