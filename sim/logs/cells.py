"""The values of a log's fields, each read strictly as what it must be; a ValueError says which rule a value breaks.

`float("1_0")` is 10 and `float("٠.٥")` is 0.5: numbers that nobody meant. Only plain digits with a point are numbers
here.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

import numpy as np
import orjson

from bandit.decide.exploration import Pmf
from bandit.decide.logged import LoggedActions
from sim.logs.event import Document, read_actions

LONGEST_SHOWN = 200  # characters of a value in a message
# A probability of 32 bits may exceed 1 by so much, and is 1.
ABOVE_ONE = 1e-6
LARGEST_WHOLE = 2**63 - 1
# What pandas and databases write where there is nobody.
NOBODY = frozenset({"nan", "NaN", "NAN", "null", "NULL", "None", "NA", "N/A", "n/a", "#N/A", "<NA>"})
UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError)

Actions = LoggedActions | tuple[Document, ...]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?|nan|NaN|[+-]?(inf|Inf|Infinity)", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d", re.ASCII)
_TRUTH = {"True": 1.0, "true": 1.0, "TRUE": 1.0, "False": 0.0, "false": 0.0, "FALSE": 0.0}


def shown(value: object) -> str:
    """The value as the file has it, at most 200 characters of it."""
    if isinstance(value, str):
        return repr(value[: LONGEST_SHOWN - 2])[:LONGEST_SHOWN]
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        text = repr(value)
    return text[:LONGEST_SHOWN]


def one_line(reason: object) -> str:
    """The reason on one line, not longer than a value is shown."""
    return " ".join(str(reason).split())[:LONGEST_SHOWN]


def number(value: Any) -> float:
    """A number. NaN and infinities are numbers here; what may not hold them says so by its range."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return float(value)
    raise ValueError("must be a number: digits with a decimal point, and nothing between the digits")


def reward(value: Any) -> float:
    """A number, or a truth value as 1 and 0."""
    if isinstance(value, bool):
        return float(value)
    return _TRUTH[value] if isinstance(value, str) and value in _TRUTH else number(value)


def truth(value: Any) -> bool:
    """A truth value: true, false, 1 or 0."""
    found = reward(value)
    if found not in (0.0, 1.0):
        raise ValueError("must be true, false, 1 or 0")
    return found == 1.0


def probability(value: Any) -> float:
    """A number; what is above 1 by no more than 32 bits explain is 1."""
    found = number(value)
    return 1.0 if 1.0 < found <= 1.0 + ABOVE_ONE else found


def whole(value: Any) -> int:
    """A whole number of 64 bits."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        found = int(value)
    else:
        exact = number(value)
        if not exact.is_integer():
            raise ValueError("must be a whole number")
        found = int(exact)
    if abs(found) > LARGEST_WHOLE:
        raise ValueError("must be a whole number of at most 64 bits")
    return found


def text(value: Any) -> str | None:
    """A text, or a number as text; None for NaN."""
    if isinstance(value, float | Decimal) and not np.isfinite(float(value)):
        return None
    if isinstance(value, bytes | list | tuple | dict | bool):
        raise ValueError("must be a text or a number")
    return str(value)


def user(value: Any) -> str | None:
    """The user's key; None where a table says in one of the usual ways that there is nobody."""
    found = text(value)
    return None if found in NOBODY else found


def instant(value: Any, assumed: tzinfo | None) -> datetime:
    """The moment, in UTC.

    Args:
        assumed: the zone of times without an offset; None: those are refused.
    """
    moment = value if isinstance(value, datetime) else _time(value)
    if moment.utcoffset() is None:
        if assumed is None:
            raise ValueError("has no UTC offset: write one, or name the zone of such times with --assume-zone")
        moment = moment.replace(tzinfo=assumed)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside of the years 1 to 9999 in UTC") from None


def _time(value: Any) -> datetime:
    if not isinstance(value, str) or not _TIME.match(value):
        raise ValueError("must be a time such as 2026-03-01T10:00:00Z")
    return datetime.fromisoformat(value)


def pmf(value: Any) -> Pmf:
    """Probabilities, as a list or as JSON text of one."""
    entries = orjson.loads(value) if isinstance(value, str) else value
    if not isinstance(entries, Sequence | np.ndarray) or isinstance(entries, str | bytes) or len(entries) == 0:
        raise ValueError("must be a list of numbers")
    if any(isinstance(one, str | bool) for one in entries):
        raise ValueError("must be a list of numbers")
    return np.array([probability(one) for one in entries], dtype=np.float64)


def actions(value: Any) -> Actions:
    """The set that this service logged, or a list of actions of any kind; a text stands for its name."""
    document = orjson.loads(value) if isinstance(value, str) else value
    if isinstance(document, dict) and isinstance(value, str):
        return read_actions(value)
    if not isinstance(document, list) or not document:
        raise ValueError("must be a JSON list of actions, or an eligible set of this service")
    return tuple(one if isinstance(one, dict) else {"id": one} for one in document)


def document(value: Any) -> Document:
    """A JSON object."""
    found = orjson.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise ValueError("must be a JSON object")
    return found
