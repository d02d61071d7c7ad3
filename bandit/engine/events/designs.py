"""Which weights an event's log-odds are the sum of, and how large each is thought to be before anything is seen.

A weight belongs to a *code* (a channel, a content, a pair of an hour and a channel, or the constant code that every
decision has) and to a *user column* (column 0 is 1 for everybody; the others are the user's features). A code of a
family that *crosses* has a weight for each user column, any other code one weight.

The prior standard deviations are in log-odds. They were measured in simulated worlds: main effects near .4, what
differs by user .3, pairs .2; a content's own taste .1, since a few events tell hardly more about it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from math import sqrt
from types import MappingProxyType
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bandit.engine.events.reading import HISTORY, ActionTokens, Kind, Token, UserTokens

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

CODES = 4_096  # of one family with weights of their own; later ones share
USERS = 4_096  # user columns; later ones share
TAIL = 2**18  # weights without correlations
PAIRED_KINDS = 3  # of a content's features: those that pair with channel, hour and weekday


class Family(StrEnum):
    """What kind of thing a code stands for."""

    BASE = "base"
    SEND = "send"  # any send, beside silence
    CHANNEL = "channel"
    KIND = "kind"  # a feature of contents
    CONTENT = "content"
    HOUR = "hour"
    TIME = "time"  # weekday and lead
    RECENCY = "recency"
    HISTORY = "history"
    CHANNEL_HOUR = "channel x hour"
    CHANNEL_KIND = "channel x kind"
    KIND_HOUR = "kind x hour"
    KIND_TIME = "kind x time"


class Scale(NamedTuple):
    """Prior standard deviations of a family's weights."""

    own: float
    crossed: float | None = None  # with user columns; None: the family does not cross


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The families that a model has."""

    name: str
    scales: Mapping[Family, Scale]
    level: float  # prior mean of the constant, in log-odds

    def has(self, key: "Key") -> bool:
        """Whether the model has this weight."""
        scale = self.scales.get(key.family)
        return scale is not None and (key.column == "" or scale.crossed is not None)

    def prior(self, key: "Key") -> "Prior":
        """What is thought of a weight before anything is seen."""
        scale = self.scales[key.family]
        if key.column:
            return Prior(0.0, scale.crossed or 0.0)
        return Prior(self.level if key.family is Family.BASE else 0.0, scale.own)


# The constant may be nearly anything. Its mean is that of a response of 1 in 20.
RESPONSE = Shape(
    name="response",
    level=-3.0,
    scales=MappingProxyType(
        {
            Family.BASE: Scale(3.0, 0.4),
            Family.SEND: Scale(0.15),
            Family.CHANNEL: Scale(0.5, 0.3),
            Family.KIND: Scale(0.4, 0.3),
            Family.CONTENT: Scale(0.3, 0.1),
            Family.HOUR: Scale(0.5, 0.3),
            Family.TIME: Scale(0.2),
            Family.RECENCY: Scale(0.2),
            Family.HISTORY: Scale(0.3),
            Family.CHANNEL_HOUR: Scale(0.2),
            Family.CHANNEL_KIND: Scale(0.2),
            Family.KIND_HOUR: Scale(0.15),
            Family.KIND_TIME: Scale(0.15),
        }
    ),
)
# What users do of themselves: a send hardly changes it.
ORGANIC = Shape(
    name="organic",
    level=-3.0,
    scales=MappingProxyType({Family.BASE: Scale(3.0, 0.4), Family.SEND: Scale(0.15)}),
)
# What is rare and bad, such as opting out: one in 500, within a factor of 20; a user's features would only add noise.
HAZARD = Shape(
    name="hazard",
    level=-6.2,
    scales=MappingProxyType({Family.BASE: Scale(1.5), Family.CHANNEL: Scale(0.7), Family.HISTORY: Scale(0.3)}),
)


class Coded(NamedTuple):
    """A code and the number that stands beside it in a row."""

    family: Family
    name: str
    value: float


def is_crossing(family: Family) -> bool:
    """Whether there is a weight for every user column."""
    scale = RESPONSE.scales.get(family)
    return scale is not None and scale.crossed is not None


BASE = Coded(Family.BASE, "", 1.0)
SEND = Coded(Family.SEND, "", 1.0)
_SILENCE = (BASE,)


@lru_cache(maxsize=8_192)
def content_codes(tokens: tuple[Token, ...]) -> tuple[tuple[Token, Family], ...]:
    """The tokens of a content, each with its family: the id, and the features that other contents may share."""
    return tuple(
        (token, Family.CONTENT if token.name.startswith("id=") and place == 0 else Family.KIND)
        for place, token in enumerate(tokens)
    )


class Decision(NamedTuple):
    """One decision as the models read it."""

    user: Sequence[tuple[str, float]]  # columns and what stands in them; the column of ones first
    codes: tuple[Coded, ...]  # with a 1 beside each
    numbers: Sequence[Coded]  # codes with other numbers
    unscaled: Sequence[Token]  # the numeric features, as the log has them


def decision_of(user: UserTokens, action: ActionTokens | None, scales: "Scales") -> Decision:
    """The columns and codes of a decision; `action` None is silence."""
    columns = [("", 1.0), *[(token.name, scales.scaled(token)) for token in user.user]]
    unscaled = [token for token in user.user if token.kind is not Kind.FLAG]
    if action is None:
        return Decision(columns, _SILENCE, (), unscaled)
    history = [Coded(Family.HISTORY, name, count) for name, count in zip(HISTORY, user.history, strict=True) if count]
    own = numbers_of(action.content)
    numbers = [Coded(Family.KIND, token.name, scales.scaled(token)) for token in own]
    return Decision(columns, send_codes(action), [*numbers, *history], [*unscaled, *own])


def numbers_of(content: tuple[Token, ...]) -> list[Token]:
    """The features of a content that are numbers."""
    return [token for token in content if token.kind is not Kind.FLAG]


@lru_cache(maxsize=4_096)
def send_codes(action: ActionTokens) -> tuple[Coded, ...]:
    """The codes of a send but for those that have numbers beside them."""
    content = [Coded(family, t.name, 1.0) for t, family in content_codes(action.content) if t.kind is Kind.FLAG]
    times = [Coded(time_family(token), token.name, 1.0) for token in action.time]
    channels = [Coded(Family.CHANNEL, token.name, 1.0) for token in action.channel]
    kinds = [token.name for token in paired_kinds(action.content)]
    hours = [code.name for code in times if code.family is Family.HOUR]
    return (
        BASE,
        SEND,
        *channels,
        *content,
        *times,
        *(Coded(Family.RECENCY, token.name, 1.0) for token in action.recency),
        *(pair(Family.CHANNEL_HOUR, channel.name, hour) for channel in channels for hour in hours),
        *(pair(Family.CHANNEL_KIND, channel.name, kind) for channel in channels for kind in kinds),
        *(pair(Family.KIND_HOUR, kind, hour) for kind in kinds for hour in hours),
        *(pair(Family.KIND_TIME, kind, code.name) for kind in kinds for code in times if code.family is Family.TIME),
    )


def paired_kinds(tokens: tuple[Token, ...]) -> list[Token]:
    """The features of a content that pair with channel and time."""
    found = [token for token, family in content_codes(tokens) if family is Family.KIND and token.kind is Kind.FLAG]
    return found[:PAIRED_KINDS]


def time_family(token: Token) -> Family:
    """An hour crosses with users; weekday and lead do not."""
    return Family.HOUR if token.name.startswith("hour=") else Family.TIME


@lru_cache(maxsize=16_384)
def pair(family: Family, first: str, second: str) -> Coded:
    """The code of two things together."""
    return Coded(family, f"{first}&{second}", 1.0)


class Scales:
    """Means and standard deviations of the numeric features, taken over the first thousand events that have each.

    What a weight means changes with the scale of its feature: after `SETTLED` events it stays.
    """

    SETTLED = 1_000
    FARTHEST = 4.0  # standard deviations from the mean that a number counts at most

    def __init__(self, sums: Mapping[str, Sequence[float]] = MappingProxyType({})) -> None:
        self.sums = {name: list(values) for name, values in sums.items()}  # number, mean, sum of squared differences

    def take(self, tokens: Sequence[Token]) -> None:
        """The numbers of one event."""
        squares: dict[str, float] = {}
        for token in tokens:
            if token.kind is Kind.NUMBER:
                self._take(token.name, token.value)
            elif token.kind is Kind.PLACE:
                squares[token.table] = squares.get(token.table, 0.0) + token.value * token.value
        for table, square in squares.items():
            self._take(table, square)

    def _take(self, name: str, value: float) -> None:
        sums = self.sums.setdefault(name, [0.0, 0.0, 0.0])
        if sums[0] < self.SETTLED:
            sums[0] += 1.0
            difference = value - sums[1]
            sums[1] += difference / sums[0]
            sums[2] += difference * (value - sums[1])

    def scaled(self, token: Token) -> float:
        """The token's number in standard deviations from the mean; of a list, in units of its usual length."""
        if token.kind is Kind.FLAG:
            return token.value
        number, mean, spread = self.sums.get(token.table, (0.0, 0.0, 0.0))
        if token.kind is Kind.PLACE:
            size = sqrt(mean)
            return self._bounded(token.value / size) if size > 0.0 else 0.0
        deviation = sqrt(spread / number) if number else 0.0
        return self._bounded((token.value - mean) / deviation) if deviation > 1e-9 * (1.0 + abs(mean)) else 0.0

    def _bounded(self, value: float) -> float:
        return min(max(value, -self.FARTHEST), self.FARTHEST)


_NO_PLACES: Places = np.zeros(0, dtype=np.int64)
_NO_VALUES: Floats = np.zeros(0)


@dataclass(slots=True)
class Rows:
    """Decisions as rows of numbers: the weights with correlations densely, the others sparsely."""

    dense: Floats  # shape (rows, dense weights)
    tail_rows: Places  # shape (entries,), as the two below
    tail_places: Places
    tail_values: Floats

    def __len__(self) -> int:
        return len(self.dense)

    def part(self, part: "Part") -> "Rows":
        """The same decisions as rows of one shape."""
        if part.is_all:
            return self
        places = part.in_tail[self.tail_places]
        kept = places >= 0
        dense = self.dense[:, part.dense]
        return Rows(dense, self.tail_rows[kept], places[kept], self.tail_values[kept])

    def some(self, chosen: NDArray[np.bool_]) -> "Rows":
        """The chosen rows."""
        kept = chosen[self.tail_rows]
        numbers = np.cumsum(chosen) - 1
        return Rows(self.dense[chosen], numbers[self.tail_rows[kept]], self.tail_places[kept], self.tail_values[kept])


def summed(places: Places, values: Floats, most: int) -> Floats:
    """The sum of the values at each place, shape (most,)."""
    sums: Floats = np.bincount(places, values, minlength=most).astype(np.float64)
    return sums


class Key(NamedTuple):
    """Which weight it is."""

    family: Family
    code: str
    column: str  # of the user; "" is the column of ones

    def words(self) -> str:
        """The weight for people, such as "topic=news x premium!true"."""
        return " x ".join(part for part in (self.code, self.column) if part) or self.family.value


class Prior(NamedTuple):
    """A belief about one weight."""

    mean: float
    deviation: float


class UserRow(NamedTuple):
    """A user as the columns that there are."""

    numbers: Places
    values: Floats
    is_whole: bool  # whether there is a column for everything


class Users:
    """The user columns in the order in which the log first needed each; the first is the column of ones."""

    def __init__(self, names: Sequence[str] = ("",)) -> None:
        self.numbers = {name: number for number, name in enumerate(names)}

    def add(self, name: str) -> str:
        """The column of a feature, which is there from now on."""
        column = self.column(name)
        self.numbers.setdefault(column, len(self.numbers))
        return column

    def column(self, name: str) -> str:
        """The feature's own column, or once there are many one that later features share."""
        if len(self.numbers) < USERS or name in self.numbers:
            return name
        return f"~{crc32(name.encode()) % USERS}"

    def row(self, user: Sequence[tuple[str, float]]) -> UserRow:
        """What stands in the columns that there are."""
        found = [(number, value) for name, value in user if (number := self.numbers.get(self.column(name))) is not None]
        numbers, values = zip(*found, strict=True)
        return UserRow(np.array(numbers, dtype=np.int64), np.array(values), len(found) == len(user))


class Row(NamedTuple):
    """One decision as the weights that it meets, and the numbers beside them."""

    places: Places  # those of the tail follow those of the dense weights
    values: Floats
    weights: int  # number of all, when it was made
    is_whole: bool  # whether every weight that it needs was among them


class _Layout(NamedTuple):
    """Where the weights of some codes are; -1 for a weight that there is not."""

    crossing: Places  # shape (codes, user columns)
    own: Places  # of the codes that do not cross
    ones: Floats  # beside these


CodeKey = tuple[Family, str]


@dataclass(slots=True)
class Part:
    """The weights that one shape has, among all."""

    shape: Shape
    dense: list[int] = field(default_factory=list)  # places among the dense weights
    tail: list[int] = field(default_factory=list)  # among those of the tail
    in_tail: Places = field(default_factory=lambda: _NO_PLACES)  # the place in this shape of each weight of the tail
    is_all: bool = True

    def follow(self, columns: "Columns", seen: int, seen_tail: int) -> None:
        """Takes in the weights that are new."""
        self.dense += [place for place in range(seen, len(columns.dense)) if self.shape.has(columns.dense[place])]
        new = [place for place in range(seen_tail, len(columns.tail)) if self.shape.has(columns.tail[place])]
        grown = np.full(max(len(columns.tail), 1), -1, dtype=np.int64)
        self.tail += new
        grown[self.tail] = np.arange(len(self.tail))
        self.in_tail = grown
        self.is_all = len(self.dense) == len(columns.dense) and len(self.tail) == len(columns.tail)


class Columns:
    """All weights, in the order in which the log first needed each.

    The first `most` have all correlations. The others are in the tail, and so is all that is a content's own with a
    user, of which there is much and little is learned. From 2^18 of them on two may share a place.
    """

    def __init__(self, users: Users, most: int, dense: Sequence[Key] = (), tail: Sequence[Key] = ()) -> None:
        """
        Args:
            users: the user columns.
            most: dense weights.
            dense: the keys of those that there are, in their order.
            tail: the keys of the other weights, in their order.
        """
        self.users, self.most = users, most
        self.dense: list[Key] = []
        self.tail: list[Key] = []
        self.parts = {shape.name: Part(shape) for shape in (RESPONSE, ORGANIC, HAZARD)}
        self._places: dict[CodeKey, dict[str, int]] = {}
        self._numbers: dict[Family, int] = {}
        self._layouts: dict[tuple[Coded, ...], _Layout] = {}
        for key in dense:
            self._put(key, is_dense=True)
        for key in tail:
            self._put(key, is_dense=False)
        if not self.dense:
            self._place(Key(BASE.family, BASE.name, ""))
        self._follow(0, 0)

    def __len__(self) -> int:
        return len(self.dense) + len(self.tail)

    @property
    def codes(self) -> Iterator[CodeKey]:
        """Those that have weights."""
        return iter(self._places)

    def weights_of(self, code: CodeKey) -> Mapping[str, int]:
        """The place of each weight of a code, by user column; those of the tail follow the dense ones."""
        return {column: self._combined(place) for column, place in self._places.get(code, _NOTHING).items()}

    def key_at(self, place: int) -> Key:
        """The key of the weight at a place; of a place that many share, of the first."""
        return self.dense[place] if place < len(self.dense) else self.tail[place - len(self.dense)]

    def own(self, code: CodeKey) -> int:
        """The place of a code's weight in the column of ones; -1 where there is none."""
        place = self._places.get(code, _NOTHING).get("")
        return -1 if place is None else self._combined(place)

    def shared(self, family: Family, name: str) -> str:
        """The name itself, or once the family is full that of the codes with which a new one shares its weights."""
        if self._numbers.get(family, 0) < CODES or (family, name) in self._places:
            return name
        return f"~{crc32(name.encode()) % CODES}"

    def row(self, decision: Decision) -> Row:
        """The row of a decision, without the weights that were never needed before."""
        user = self.users.row(decision.user)
        layout = self._layout(decision.codes)
        places = [layout.crossing[:, user.numbers].reshape(-1), layout.own]
        values = [np.concatenate([user.values] * len(layout.crossing)), layout.ones]
        for code in decision.numbers:
            if is_crossing(code.family):
                one = self._layout((code._replace(value=1.0),))
                places.append(one.crossing[0, user.numbers])
                values.append(code.value * user.values)
        own = [code for code in decision.numbers if not is_crossing(code.family)]
        if own:
            places.append(np.array([self.own((code.family, code.name)) for code in own]))
            values.append(np.array([code.value for code in own]))
        every, beside = np.concatenate(places), np.concatenate(values)
        if every.min() >= 0:
            return Row(every, beside, len(self), user.is_whole)
        known = every >= 0
        return Row(every[known], beside[known], len(self), is_whole=False)

    def rows(self, decisions: Sequence[Decision], made: Sequence[Row]) -> Rows:
        """The rows of these decisions; weights that they are the first to need are added.

        Args:
            made: the row of each as it was when the decision came.
        """
        seen, seen_tail = len(self.dense), len(self.tail)
        for decision, row in zip(decisions, made, strict=True):
            if not row.is_whole or row.weights != len(self):
                self._add(decision)
        if len(self) > seen + seen_tail:
            self._follow(seen, seen_tail)
        return self._assembled(
            [
                row if row.is_whole and row.weights == len(self) else self.row(decision)
                for decision, row in zip(decisions, made, strict=True)
            ]
        )

    def add(self, keys: Iterable[Key]) -> None:
        """Adds weights, of which some belief is there before any event needs them."""
        seen, seen_tail = len(self.dense), len(self.tail)
        for family, name, column in keys:
            key = Key(family, self.shared(family, name), self.users.add(column))
            if key.column not in self._places.get((family, key.code), _NOTHING) and not self._is_full:
                self._place(key)
        self._follow(seen, seen_tail)

    def _follow(self, seen: int, seen_tail: int) -> None:
        for part in self.parts.values():
            part.follow(self, seen, seen_tail)

    def _assembled(self, rows: Sequence[Row]) -> Rows:
        dense = len(self.dense)
        numbers = np.repeat(np.arange(len(rows)), [len(row.places) for row in rows])
        places = np.concatenate([_NO_PLACES, *(row.places for row in rows)])
        values = np.concatenate([_NO_VALUES, *(row.values for row in rows)])
        is_tail = places >= dense
        inside = ~is_tail
        flat = summed(numbers[inside] * dense + places[inside], values[inside], len(rows) * dense)
        return Rows(flat.reshape(len(rows), dense), numbers[is_tail], places[is_tail] - dense, values[is_tail])

    def _layout(self, codes: tuple[Coded, ...]) -> _Layout:
        """Where the weights of these codes are; kept until there is another weight."""
        layout = self._layouts.get(codes)
        if layout is None:
            if len(self._layouts) * len(self.users.numbers) >= KEPT_PLACES:
                self._layouts.clear()
            layout = self._layouts[codes] = self._laid_out(codes)
        return layout

    def _laid_out(self, codes: tuple[Coded, ...]) -> _Layout:
        keys = [(code.family, self.shared(code.family, code.name)) for code in codes]
        crossing = [key for key in keys if is_crossing(key[0])]
        places = [[self._known_place(key, column) for column in self.users.numbers] for key in crossing]
        own = [self._known_place(key, "") for key in keys if not is_crossing(key[0])]
        shape = len(crossing), len(self.users.numbers)
        return _Layout(
            np.array(places, dtype=np.int64).reshape(shape), np.array(own, dtype=np.int64), np.ones(len(own))
        )

    def _known_place(self, code: CodeKey, column: str) -> int:
        place = self._places.get(code, _NOTHING).get(column)
        if place is not None:
            return self._combined(place)
        return len(self.dense) + crc32(f"{code}&{column}".encode()) % TAIL if self._is_full else -1

    def _combined(self, place: int) -> int:
        """Places of the tail are kept from -2 downwards, since the dense weights before them grow in number."""
        return place if place >= 0 else len(self.dense) - 2 - place

    def _add(self, decision: Decision) -> None:
        columns = [self.users.add(name) for name, _ in decision.user]
        for family, name, _ in (*decision.codes, *decision.numbers):
            if self._is_full:
                return
            code = (family, self.shared(family, name))
            found = self._places.get(code, _NOTHING)
            for column in columns if is_crossing(family) else _ONES:
                if column not in found and not self._is_full:
                    self._place(Key(*code, column))
                    found = self._places[code]

    def _place(self, key: Key) -> None:
        """Adds one weight."""
        is_own_taste = key.family is Family.CONTENT and key.column != ""
        self._put(key, is_dense=not is_own_taste and len(self.dense) < self.most)

    def _put(self, key: Key, *, is_dense: bool) -> None:
        family, code, column = key
        keys = self.dense if is_dense else self.tail
        if (family, code) not in self._places:
            self._places[family, code] = {}
            self._numbers[family] = self._numbers.get(family, 0) + 1
        self._layouts.clear()
        self._places[family, code][column] = len(keys) if is_dense else -2 - len(keys)
        keys.append(key)

    @property
    def _is_full(self) -> bool:
        return len(self.tail) >= TAIL


KEPT_PLACES = 1_000_000  # of layouts
_ONES = ("",)
_NOTHING: Mapping[str, int] = MappingProxyType({})
