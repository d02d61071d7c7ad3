"""The models of one moment as tables, from which a decision is made with a few small products of arrays.

A decision is scored by its parts: channels, contents, hours and their pairs, at the posterior mean and at all draws at
once. Nothing here is learned; the tables are made from the posteriors and thrown away with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bandit.engine.events.designs import (
    RESPONSE,
    SEND,
    Coded,
    Columns,
    Family,
    Scales,
    content_codes,
    numbers_of,
    pair,
    paired_kinds,
    time_family,
)
from bandit.engine.events.reading import HISTORY, Kind, Token, UserTokens, split_content, tokens_of

Singles = NDArray[np.float32]
Indices = NDArray[np.intp]

WIDEST = 4_000_000  # numbers in the table of what crosses with users; beyond, families cross at the mean only
STRANGERS = 64  # rows of draws for codes that were never seen, of each family
KEPT_PLANS = 256
KEPT_NUMBERS = 20_000  # of a plan's sums: larger ones are made each time
_STRANGE = (Family.CHANNEL, Family.KIND, Family.CONTENT, Family.HOUR)
_CROSSING = (Family.BASE, Family.CHANNEL, Family.HOUR, Family.KIND, Family.CONTENT)


class Weights(NamedTuple):
    """The weights of one model at the places of all weights, zero where it has none: the mean (column 0) and draws."""

    dense: Singles  # shape (dense weights, 1 + draws)
    tail: Singles  # shape (tail weights,): the mean only


class Places(NamedTuple):
    """Rows of the three tables that belong to some things: shape (things, most of one), padded with rows of zeros."""

    crossed: Indices
    fixed: Indices
    at_mean: Indices


@dataclass(slots=True, kw_only=True, eq=False)
class Plan:
    """What is the same for every user of one set of channels, contents and times."""

    channels: Places
    contents: Places
    times: Places
    numbers: Singles | None  # shape (contents, numbers): of the contents' numeric features
    number_places: Places  # of these
    channel_times: Indices | None  # shape (channels, times, pairs)
    groups: Indices  # shape (contents,): contents of the same kinds are one group in the pairs
    channel_kinds: Indices | None  # shape (channels, groups, pairs)
    kind_times: Indices | None  # shape (groups, times, pairs)
    same: Singles | None = None  # shape (channels, contents, times, width): the sums of what crosses with no user


class Tables:
    """The response models that serve, side by side.

    Args:
        columns: all weights.
        models: the weights of the response models.
        normals: shape (strangers, draws), standard normal numbers for what was never seen.
        scale: of the draws.
    """

    def __init__(
        self,
        columns: Columns,
        models: Sequence[Weights],
        scales: Scales,
        normals: Singles,
        scale: float,
    ) -> None:
        self._scales, self._columns = scales, columns
        self.models, self.draws = len(models), 1 + normals.shape[1]
        self.width = self.models * self.draws
        self.users, self._user_count = columns.users, len(columns.users.numbers)
        self._crossing, mean_only = self._families(columns)
        codes = list(columns.codes)
        self._crossed = _numbered([code for code in codes if code[0] in self._crossing])
        self._at_mean = _numbered([code for code in codes if code[0] in mean_only])
        self._fixed = _numbered([code for code in codes if code not in self._crossed])
        self._make(columns, models, normals, scale)
        self._plans: dict[tuple[object, ...], Plan] = {}
        self._recency: dict[tuple[str, ...], Indices] = {}

    def _families(self, columns: Columns) -> tuple[set[Family], set[Family]]:
        """The families that cross at the draws, as long as there is room, and those that do only at the mean."""
        crossing: set[Family] = set()
        codes = 0
        for family in _CROSSING:
            codes += sum(code[0] is family for code in columns.codes)
            if crossing and codes * self._user_count * self.width > WIDEST:
                return crossing, set(_CROSSING) - crossing
            crossing.add(family)
        return crossing, set()

    def _make(self, columns: Columns, models: Sequence[Weights], normals: Singles, scale: float) -> None:
        users, width = self._user_count, self.width
        crossed = np.zeros((users, len(self._crossed), width), dtype=np.float32)
        strangers = np.zeros((len(_STRANGE), STRANGERS, self.models, self.draws), dtype=np.float32)
        for place, family in enumerate(_STRANGE):
            strangers[place, :, :, 1:] = scale * RESPONSE.scales[family].own * normals[:, None, :]
        fixed = np.zeros((len(self._fixed) + 1 + len(_STRANGE) * STRANGERS, width), dtype=np.float32)
        fixed[len(self._fixed) + 1 :] = strangers.reshape(len(_STRANGE) * STRANGERS, width)
        at_mean = np.zeros((len(self._at_mean) + 1, self.models, users), dtype=np.float32)
        for code in columns.codes:
            weights = columns.weights_of(code)
            places = np.fromiter(weights.values(), dtype=np.int64, count=len(weights))
            names = np.array([self.users.numbers[name] for name in weights], dtype=np.intp)
            values = self._values(models, places)
            if code in self._crossed:
                crossed[names, self._crossed[code]] = values
                continue
            if "" in weights:
                fixed[self._fixed[code]] = values[list(weights).index("")]
            if code in self._at_mean:
                means = values.reshape(len(places), self.models, self.draws)[:, :, 0]
                at_mean[self._at_mean[code]][:, names] = means.T
                at_mean[self._at_mean[code], :, 0] = 0.0  # the column of ones is in the other table
        self._crossed_table = crossed.reshape(users, -1)
        self._fixed_table, self._mean_table = fixed, at_mean.reshape(-1, users)
        history = [columns.own((Family.HISTORY, name)) for name in HISTORY]
        self._history_table = self._values(models, np.array(history, dtype=np.int64))

    def _values(self, models: Sequence[Weights], places: NDArray[np.int64]) -> Singles:
        """The weights of all models at these places, shape (places, width)."""
        if not models:
            return np.zeros((len(places), 0), dtype=np.float32)
        return np.concatenate([gathered(one, places) for one in models], axis=1)

    def user(self, tokens: UserTokens) -> Singles:
        """What stands in each user column, shape (columns,)."""
        row = np.zeros(self._user_count, dtype=np.float32)
        row[0] = 1.0
        for token in tokens.user:
            place = self.users.numbers.get(self.users.column(token.name))
            if place is not None:
                row[place] = self._scales.scaled(token)
        return row

    def log_odds(
        self, user: Singles, history: Sequence[float], lines: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    ) -> Singles:
        """Log-odds of every send, shape (channels, contents, times, models x draws)."""
        channels, contents, times = lines
        plan, recency = self._plan(channels, contents, times)
        crossed = np.empty((len(self._crossed) + 1, self.width), dtype=np.float32)
        np.matmul(user, self._crossed_table, out=crossed[:-1].reshape(-1))
        crossed[-1] = 0.0
        at_mean = (self._mean_table @ user).reshape(-1, self.models) if self._at_mean else None
        by_channel = self._of(plan.channels, crossed, at_mean)
        by_channel += crossed[0]
        if any(history):
            by_channel += np.array(history, dtype=np.float32) @ self._history_table
        every = self._same(plan) + by_channel[:, None, None]
        every += self._by_content(plan, recency, crossed, at_mean)[:, None]
        every += self._of(plan.times, crossed, at_mean)
        return every

    def _by_content(self, plan: Plan, recency: Indices | None, crossed: Singles, at_mean: Singles | None) -> Singles:
        """What each content adds for this user, its numbers and its recency included; shape (contents, width)."""
        sums = self._of(plan.contents, crossed, at_mean)
        if plan.numbers is not None:
            by_number = self._of(plan.number_places, crossed, at_mean)
            sums += plan.numbers @ (by_number + _summed(self._fixed_table, plan.number_places.fixed))
        if recency is not None:
            sums += _summed(self._fixed_table, recency)
        return sums

    def _of(self, places: Places, crossed: Singles, at_mean: Singles | None) -> Singles:
        """The sums that belong to some things for this user, shape (things, width)."""
        sums = _summed(crossed, places.crossed)
        if at_mean is not None and places.at_mean.shape[1]:
            sums = sums + np.repeat(_summed(at_mean, places.at_mean), self.draws, axis=1)
        return sums

    def _same(self, plan: Plan) -> Singles:
        """What is the same for every user, shape (channels, contents, times, width); kept where it is small."""
        if plan.same is not None:
            return plan.same
        table = self._fixed_table
        same = _summed(table, plan.channels.fixed)[:, None, None] + _summed(table, plan.contents.fixed)[:, None]
        same = same + _summed(table, plan.times.fixed)
        if plan.channel_times is not None:
            same += _summed(table, plan.channel_times)[:, None]
        if plan.channel_kinds is not None:
            same += _summed(table, plan.channel_kinds)[:, plan.groups, None]
        if plan.kind_times is not None:
            same += _summed(table, plan.kind_times)[plan.groups]
        if same.size <= KEPT_NUMBERS:
            plan.same = same
        return same

    def _plan(
        self, channels: tuple[str, ...], contents: tuple[str, ...], times: tuple[str, ...]
    ) -> tuple[Plan, Indices | None]:
        parts = [split_content(line) for line in contents]
        key = (channels, tuple([part.content for part in parts]), times)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= KEPT_PLANS:
                self._plans.clear()
            plan = self._plans[key] = self._planned(*key)
        since = tuple([part.recency for part in parts])
        recency = self._recency.get(since)
        if recency is None:
            if len(self._recency) >= KEPT_PLANS:
                self._recency.clear()
            recency = self._recency[since] = self._since(since)
        return plan, recency if recency.size else None

    def _since(self, texts: tuple[str, ...]) -> Indices:
        codes = [[Coded(Family.RECENCY, token.name, 1.0) for token in tokens_of(text)] for text in texts]
        return self._places(codes).fixed

    def _planned(self, channels: tuple[str, ...], contents: tuple[str, ...], times: tuple[str, ...]) -> Plan:
        ways = [tokens_of(line.partition("|C")[2]) for line in channels]
        what = [tokens_of(text) for text in contents]
        when = [tokens_of(line.partition("|T")[2]) for line in times]
        kinds = [tuple(token.name for token in paired_kinds(tokens)) for tokens in what]
        groups = {kind: place for place, kind in enumerate(dict.fromkeys(kinds))}
        numbers = {token.name: place for place, token in enumerate(dict.fromkeys(n for c in what for n in _named(c)))}
        return Plan(
            channels=self._places([[SEND, *(Coded(Family.CHANNEL, token.name, 1.0) for token in way)] for way in ways]),
            contents=self._places(
                [[Coded(f, t.name, 1.0) for t, f in content_codes(tokens) if t.kind is Kind.FLAG] for tokens in what]
            ),
            times=self._places([[Coded(time_family(token), token.name, 1.0) for token in time] for time in when]),
            numbers=self._numbers(what, numbers) if numbers else None,
            number_places=self._places([[Coded(Family.KIND, name, 1.0)] for name in numbers]),
            channel_times=self._pairs([[_channel_hours(way, time) for time in when] for way in ways]),
            groups=np.array([groups[kind] for kind in kinds], dtype=np.intp),
            channel_kinds=self._pairs(
                [[[pair(Family.CHANNEL_KIND, c.name, k) for c in way for k in kind] for kind in groups] for way in ways]
            ),
            kind_times=self._pairs([[_kind_times(kind, time) for time in when] for kind in groups]),
        )

    def _numbers(self, what: Sequence[tuple[Token, ...]], places: Mapping[str, int]) -> Singles:
        rows = np.zeros((len(what), len(places)), dtype=np.float32)
        for row, tokens in zip(rows, what, strict=True):
            for token in numbers_of(tokens):
                row[places[token.name]] = self._scales.scaled(token)
        return rows

    def _places(self, things: Sequence[Sequence[Coded]]) -> Places:
        keys = [[self._key(code) for code in thing] for thing in things]
        crossed = [[self._crossed[key] for key in thing if key in self._crossed] for thing in keys]
        at_mean = [[self._at_mean[key] for key in thing if key in self._at_mean] for thing in keys]
        fixed = [[place for key in thing if (place := self._fixed_place(key)) is not None] for thing in keys]
        return Places(
            _padded(crossed, len(self._crossed)), _padded(fixed, len(self._fixed)), _padded(at_mean, len(self._at_mean))
        )

    def _key(self, code: Coded) -> tuple[Family, str]:
        return code.family, self._columns.shared(code.family, code.name)

    def _fixed_place(self, key: tuple[Family, str]) -> int | None:
        family, name = key
        if key in self._crossed or key in self._fixed or family not in _STRANGE:
            return self._fixed.get(key)
        return len(self._fixed) + 1 + _STRANGE.index(family) * STRANGERS + crc32(name.encode()) % STRANGERS

    def _pairs(self, codes: Sequence[Sequence[Sequence[Coded]]]) -> Indices | None:
        """The rows of pairs, shape (first things, second things, most of one); None where none has a weight."""
        places = [
            [[self._fixed[key] for code in cell if (key := self._key(code)) in self._fixed] for cell in row]
            for row in codes
        ]
        most = max((len(cell) for row in places for cell in row), default=0)
        if not most:
            return None
        empty = len(self._fixed)
        return np.array([[[*cell, *[empty] * (most - len(cell))] for cell in row] for row in places], dtype=np.intp)


def gathered(weights: Weights, places: NDArray[np.int64]) -> Singles:
    """The weights at these places, shape (places, 1 + draws); zero at place -1, and in the tail the mean throughout."""
    found = np.zeros((len(places), weights.dense.shape[1]), dtype=np.float32)
    count = len(weights.dense)
    dense = (places >= 0) & (places < count)
    found[dense] = weights.dense[places[dense]]
    tail = places >= count
    found[tail] = weights.tail[places[tail] - count][:, None]
    return found


def _channel_hours(way: Sequence[Token], time: Sequence[Token]) -> list[Coded]:
    hours = [token.name for token in time if time_family(token) is Family.HOUR]
    return [pair(Family.CHANNEL_HOUR, channel.name, hour) for channel in way for hour in hours]


def _kind_times(kinds: Sequence[str], time: Sequence[Token]) -> list[Coded]:
    families = [(token.name, time_family(token)) for token in time]
    return [
        pair(Family.KIND_HOUR if family is Family.HOUR else Family.KIND_TIME, kind, name)
        for kind in kinds
        for name, family in families
    ]


def _named(tokens: tuple[Token, ...]) -> list[Token]:
    return [token._replace(value=0.0) for token in numbers_of(tokens)]


def _numbered(codes: Sequence[tuple[Family, str]]) -> dict[tuple[Family, str], int]:
    return {code: place for place, code in enumerate(dict.fromkeys(codes))}


def _padded(rows: Sequence[Sequence[int]], empty: int) -> Indices:
    most = max(map(len, rows), default=0)
    return np.array([[*row, *[empty] * (most - len(row))] for row in rows], dtype=np.intp).reshape(len(rows), most)


def _summed(table: Singles, places: Indices) -> Singles:
    """Sums of the table's rows at the places, over the places' last axis; never a view of the table."""
    most = places.shape[-1]
    if most == 0:
        return np.zeros((*places.shape[:-1], table.shape[1]), dtype=np.float32)
    sums: Singles = table[places[..., 0]]
    for one in range(1, most):
        sums += table[places[..., one]]
    return sums
