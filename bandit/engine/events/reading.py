"""The logged factor lines as tokens: what the models of events read, and all that they read.

A line is "shared |U ... |H ..." for the user, "|C ...", "|M ... |R ...", "|T ..." for the parts of an action
(`bandit/decide/features.py` writes them). The separator after a name tells the type of a feature:

    name=text  name!true  name~member    a flag: there or not
    name#:number                         a number
    name#3:number                        a coordinate of a list of numbers
"""

from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from math import expm1, log1p, nan
from typing import NamedTuple

from bandit.engine.cells import cells_of
from bandit.engine.lines import ActionLines
from bandit.errors import FieldError, InvalidInput

FOLDED = 32  # coordinates of a list of numbers at most; longer lists are folded
LARGEST = 1e15  # of any number in a line
_GOLDEN = 2_654_435_761  # the multiplier of Fibonacci hashing: its high bit gives the signs of the folds
SATURATED_SENDS = 10.0  # sends in 30 days after which most of the habituation has come
HISTORY = ("sent_1d", "sent_7d", "sent_30d", "saturation", "ignored_streak", "responses_30d")


class Kind(IntEnum):
    """Of what type a token is."""

    FLAG = 0
    NUMBER = 1
    PLACE = 2  # of a list of numbers


class Token(NamedTuple):
    """One feature of a line."""

    name: str  # without the value of a number; with the text of a flag
    value: float
    kind: Kind

    @property
    def table(self) -> str:
        """The name whose numbers are scaled together: of a coordinate, the whole list."""
        return self.name.rpartition("#")[0] if self.kind is Kind.PLACE else self.name


class UserTokens(NamedTuple):
    """What the shared line says."""

    user: tuple[Token, ...]
    history: tuple[float, ...]  # in the order of HISTORY; all zero for a user with none


class ContentTokens(NamedTuple):
    """What a content line says."""

    content: str  # the tokens of |M as text: the same for every user
    recency: str  # those of |R


class ActionTokens(NamedTuple):
    """What the lines of one send say."""

    channel: tuple[Token, ...]
    content: tuple[Token, ...]
    recency: tuple[Token, ...]
    time: tuple[Token, ...]


def send_at(actions: ActionLines, index: int) -> tuple[str, str, str] | None:
    """The lines of an action's channel, content and time; None for silence.

    Raises:
        InvalidInput: there is no such action.
    """
    cells = cells_of(actions.mask, len(actions.contents), len(actions.times))
    if not 0 <= index <= len(cells):
        message = f"{index!r} is outside [0, {1 + len(cells)})"
        raise InvalidInput([FieldError(field="action_index", message=message)])
    if index == 0:
        return None
    channel, content, time = cells[index - 1]
    return actions.channels[channel], actions.contents[content], actions.times[time]


def channel_name(line: str) -> str:
    """The channel as its line has it."""
    return line.removeprefix("|C ").strip()


def user_tokens(shared: str) -> UserTokens:
    """The tokens of a shared line.

    Raises:
        InvalidInput: it is not one, or a number in it is not finite.
    """
    if not (shared.startswith("shared |") and shared.isascii() and shared.isprintable()):
        message = f"{shared[:80]!r} is not one line of printable ASCII that starts with 'shared |'"
        raise InvalidInput([FieldError(field="shared", message=message)])
    sections = _sections(shared.removeprefix("shared "))
    return UserTokens(tokens_of(sections.get("U", "")), _history(sections.get("H", "")))


@lru_cache(maxsize=4_096)
def split_content(line: str) -> ContentTokens:
    """A content line in its two parts."""
    sections = _sections(line)
    return ContentTokens(sections.get("M", ""), sections.get("R", ""))


@lru_cache(maxsize=4_096)
def action_tokens(channel: str, content: str, time: str) -> ActionTokens:
    """The tokens of the three lines of a send."""
    parts = split_content(content)
    return ActionTokens(
        tokens_of(_sections(channel).get("C", "")),
        tokens_of(parts.content),
        tokens_of(parts.recency),
        tokens_of(_sections(time).get("T", "")),
    )


@lru_cache(maxsize=8_192)
def tokens_of(text: str) -> tuple[Token, ...]:
    """The tokens of one namespace. A list of numbers is folded to `FOLDED` coordinates.

    Raises:
        InvalidInput: a number is none, or not finite.
    """
    found: dict[str, Token] = {}
    for word in text.split():
        token = _token(word)
        there = found.get(token.name)
        if there is not None and token.kind is not Kind.FLAG:
            token = token._replace(value=there.value + token.value)
        found[token.name] = token
    return tuple(found.values())


def _token(word: str) -> Token:
    feature, _, number = word.partition(":")
    if not number:
        return Token(feature, 1.0, Kind.FLAG)
    name, _, place = feature.rpartition("#")
    if not place:
        return Token(name, _number(word, number), Kind.NUMBER)
    fold, coordinate = divmod(int(place), FOLDED) if place.isdecimal() else (0, place)
    sign = -1.0 if fold * _GOLDEN >> 31 & 1 else 1.0
    return Token(f"{name}#{coordinate}", sign * _number(word, number), Kind.PLACE)


def _number(word: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not abs(number) <= LARGEST:
        message = f"the weight in {word[:80]!r} is not a number within {LARGEST:g}"
        raise InvalidInput([FieldError(field="lines", message=message)])
    return number


def _sections(line: str) -> dict[str, str]:
    return {part[0]: part[1:].strip() for part in line.split("|") if part}


def _history(text: str) -> tuple[float, ...]:
    """The counts as the models see them: logarithms, and how far habituation has come.

    The log has them squashed (`squash` in `bandit/decide/features.py`): beyond 1 a count stands as 1 + its logarithm.
    """
    if not text:
        return _NO_HISTORY
    counts = dict.fromkeys(HISTORY, 0.0)
    for name, count in _counts(text):
        if name in counts:
            counts[name] += count
    saturation = -expm1(-counts["sent_30d"] / SATURATED_SENDS)
    logs = {name: log1p(count) for name, count in counts.items()}
    return tuple({**logs, "saturation": saturation}.values())


def _counts(text: str) -> Iterator[tuple[str, float]]:
    for word in text.split():
        feature, _, number = word.partition(":")
        yield _counted(feature), unsquashed(_number(word, number))


@lru_cache(maxsize=1_024)
def _counted(feature: str) -> str:
    """What a feature of the history counts, over all channels together."""
    name = feature.removesuffix("#")
    return "_".join(name.split("_", 2)[:2]) if name.startswith("sent_") else name


def unsquashed(number: float) -> float:
    """The count of which `squash` made the number."""
    return number if number <= 1.0 else _exponential(number - 1.0)


def _exponential(power: float) -> float:
    return expm1(min(power, 40.0)) + 1.0


_NO_HISTORY = (0.0,) * len(HISTORY)
