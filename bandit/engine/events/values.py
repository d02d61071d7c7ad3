"""What the event models of one moment say of actions: expected outcomes of every event, and the value that follows.

    value = sum of worth x expected outcome + default x P(no event) - cost,    within the bounds of a reward

at the posterior mean (column 0) and at each draw from the posteriors.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import prod, tanh
from typing import NamedTuple
from zlib import crc32

import numpy as np

from bandit.engine.cells import cells_of
from bandit.engine.events.arguments import EventArguments
from bandit.engine.events.designs import (
    BASE,
    HAZARD,
    ORGANIC,
    RESPONSE,
    SEND,
    Columns,
    Family,
    Floats,
    Row,
    Scales,
)
from bandit.engine.events.model import EventModel, Served
from bandit.engine.events.posterior import sigmoid
from bandit.engine.events.reading import HISTORY, UserTokens, channel_name
from bandit.engine.events.tables import STRANGERS, Indices, Singles, Tables, Weights, gathered
from bandit.engine.lines import ActionLines

DRAW_SCALE = 0.5  # of the posterior's deviations: whole ones explore too long
STRANGERS_SEED = 20_200_313
KEPT_COSTS = 64

Draws = Mapping[str, Singles]  # weights by `Served.name`, shape (dense weights, draws)


def draw_weights(arguments: EventArguments, models: Mapping[str, EventModel], learned: int) -> dict[str, Singles]:
    """Draws from every posterior that serves.

    Args:
        learned: decisions that these posteriors have learned; together with the lineage the seed of the draws.
    """
    drawn = {}
    for model in models.values():
        for name, _shape, posterior in model.serving:
            rng = np.random.default_rng([arguments.seed, learned, crc32(name.encode())])
            normals = rng.standard_normal((len(posterior.mean), arguments.draws))
            drawn[name] = posterior.draws(normals, DRAW_SCALE).astype(np.float32)
    return drawn


class Outlook(NamedTuple):
    """Expected outcomes of one event, at the mean and the draws."""

    model: EventModel
    sends: Singles  # broadcasts to shape (channels, contents, times, 1 + draws)
    silence: Singles  # shape (1 + draws,)


class Values:
    """The models as they were after some block, made to answer fast."""

    def __init__(
        self,
        arguments: EventArguments,
        models: Mapping[str, EventModel],
        columns: Columns,
        scales: Scales,
        draws: Draws,
    ) -> None:
        self._arguments = arguments
        self._columns = 1 + arguments.draws
        every = list(models.values())
        served = {model.name: {one.name: _weights(columns, one, draws) for one in model.serving} for model in every}
        self._caused = [one for one in every if one.after_send.shape is RESPONSE]
        hazards = [one for one in every if one.after_send.shape is HAZARD]
        organic = [one for one in every if one.after_send.shape is ORGANIC]
        self._hazards = [_Hazard(one, columns, served[one.name][one.after_send.name]) for one in hazards]
        self._organic = _Organic(columns, [(one, served[one.name][one.after_send.name]) for one in organic])
        silent = [(one, served[one.name][after.name]) for one in every if (after := one.after_silence) is not None]
        self._silent = _Organic(columns, silent)
        normals = np.random.default_rng(STRANGERS_SEED).standard_normal((STRANGERS, arguments.draws))
        self._tables = Tables(
            columns,
            [served[one.name][one.after_send.name] for one in self._caused],
            scales,
            normals.astype(np.float32),
            DRAW_SCALE,
        )
        self._costs: dict[tuple[str, ...], Singles] = {}

    def values(self, user: UserTokens, actions: ActionLines) -> Singles:
        """Values of silence and of every eligible send, shape (actions, 1 + draws)."""
        outlooks = self.outlooks(user, actions)
        shape = (len(actions.channels), len(actions.contents), len(actions.times), self._columns)
        by_channel = -self._cost(actions.channels)
        silence = np.zeros(self._columns, dtype=np.float32)
        sends: Singles | None = None
        for model, after_send, after_silence in outlooks:
            worth = np.float32(worth_of(self._arguments, model))
            silence += worth * after_silence
            if after_send.shape[1:3] == (1, 1):
                by_channel = by_channel + worth * after_send
            elif sends is None:
                sends = worth * after_send
            else:
                sends += worth * after_send
        sends = by_channel if sends is None else np.add(sends, by_channel, out=sends)
        if self._arguments.default:
            binary = [one for one in outlooks if not one.model.is_numeric]
            default = np.float32(self._arguments.default)
            sends = sends + default * _product([1 - one.sends for one in binary])
            silence = silence + default * _product([1 - one.silence for one in binary])
        values = np.concatenate([silence[None], _eligible(np.broadcast_to(sends, shape), actions.mask)])
        low, high = self._arguments.bounds
        np.minimum(np.maximum(values, np.float32(low), out=values), np.float32(high), out=values)
        return values

    def outcomes(self, user: UserTokens, actions: ActionLines) -> dict[str, Singles]:
        """Expected outcomes of silence and of every eligible send, by event: shape (actions, 1 + draws)."""
        shape = (len(actions.channels), len(actions.contents), len(actions.times), self._columns)
        return {
            model.name: np.concatenate(
                [after_silence[None], _eligible(np.broadcast_to(after_send, shape), actions.mask)]
            )
            for model, after_send, after_silence in self.outlooks(user, actions)
        }

    def outlooks(self, user: UserTokens, actions: ActionLines) -> list[Outlook]:
        """Every event's expected outcomes."""
        row = self._tables.user(user)
        after_silence = {model.name: outcomes for model, outcomes in self._silent.outcomes(row, is_send=False)}
        never = np.zeros(self._columns, dtype=np.float32)
        after_sends = [*self._responses(row, user.history, actions), *self._organic.outcomes(row, is_send=True)]
        after_sends += [one.outcomes(actions.channels, user.history) for one in self._hazards]
        return [Outlook(model, outcomes, after_silence.get(model.name, never)) for model, outcomes in after_sends]

    def _responses(
        self, row: Singles, history: Sequence[float], actions: ActionLines
    ) -> Iterator[tuple[EventModel, Singles]]:
        if self._caused:
            odds = self._tables.log_odds(row, history, (actions.channels, actions.contents, actions.times))
            for place, model in enumerate(self._caused):
                yield model, _outcomes(model, odds[..., place * self._columns : (place + 1) * self._columns])

    def _cost(self, channels: tuple[str, ...]) -> Singles:
        """Costs of a send, shape (channels, 1, 1, 1)."""
        found = self._costs.get(channels)
        if found is None:
            if len(self._costs) >= KEPT_COSTS:
                self._costs.clear()
            costs = [self._arguments.costs.get(channel_name(line), 0.0) for line in channels]
            found = self._costs[channels] = np.array(costs, dtype=np.float32).reshape(-1, 1, 1, 1)
        return found


def worth_of(arguments: EventArguments, model: EventModel) -> float:
    """What an outcome of 1 is worth."""
    return 1.0 if model.is_numeric else arguments.worths[model.name]


def _weights(columns: Columns, served: Served, draws: Draws) -> Weights:
    """The weights that a posterior gives, at the places of all weights."""
    part, posterior = columns.parts[served.shape.name], served.posterior
    dense = np.zeros((len(columns.dense), 1 + draws[served.name].shape[1]), dtype=np.float32)
    dense[part.dense, 0] = posterior.mean
    dense[part.dense, 1:] = draws[served.name]
    tail = np.zeros(len(columns.tail), dtype=np.float32)
    tail[part.tail] = posterior.tail_mean
    return Weights(dense, tail)


def _outcomes(model: EventModel, linear: Singles) -> Singles:
    """Expected outcomes in the campaign's units."""
    outcomes: Singles = linear * np.float32(model.size) if model.is_numeric else _sigmoid(linear)
    return outcomes


def _sigmoid(linear: Singles) -> Singles:
    odds: Singles = np.tanh(linear * np.float32(0.5))
    odds += np.float32(1.0)
    odds *= np.float32(0.5)
    return odds


def _product(factors: Sequence[Singles]) -> Singles:
    product = np.ones((), dtype=np.float32)
    for factor in factors:
        product = product * factor
    return product


def _eligible(sends: Singles, mask: str) -> Singles:
    """The rows of the eligible sends."""
    _, contents, times, columns = sends.shape
    flat = sends.reshape(-1, columns)
    places = _flat_places(mask, contents, times)
    return flat if len(places) == len(flat) else flat[places]


@lru_cache(maxsize=512)
def _flat_places(mask: str, contents: int, times: int) -> Indices:
    return np.array([(c * contents + m) * times + t for c, m, t in cells_of(mask, contents, times)], dtype=np.intp)


class _Organic:
    """Organic models of several events side by side."""

    def __init__(self, columns: Columns, models: Sequence[tuple[EventModel, Weights]]) -> None:
        self._models = [model for model, _ in models]
        weights_of = columns.weights_of((BASE.family, BASE.name))
        users = np.array([weights_of.get(name, -1) for name in columns.users.numbers])
        sent = np.array([columns.own((SEND.family, SEND.name))])
        if models:
            self._table = np.concatenate([gathered(weights, users) for _, weights in models], axis=1)
            self._sent = np.concatenate([gathered(weights, sent) for _, weights in models])

    def outcomes(self, row: Singles, *, is_send: bool) -> Iterator[tuple[EventModel, Singles]]:
        """Expected outcomes; after a send of shape (1, 1, 1, 1 + draws)."""
        if not self._models:
            return
        linear = (row @ self._table).reshape(len(self._models), -1)
        if is_send:
            linear = linear + self._sent
        for model, one in zip(self._models, linear, strict=True):
            outcomes = _outcomes(model, one)
            yield model, outcomes[None, None, None] if is_send else outcomes


class _Hazard:
    """The hazard of one event."""

    def __init__(self, model: EventModel, columns: Columns, weights: Weights) -> None:
        self._model, self._columns, self._weights = model, columns, weights
        places = [columns.own((Family.HISTORY, name)) for name in HISTORY]
        self._base = gathered(weights, np.array([columns.own((BASE.family, BASE.name))]))
        self._history = gathered(weights, np.array(places))
        self._channels: dict[tuple[str, ...], Singles] = {}

    def outcomes(self, channels: tuple[str, ...], history: Sequence[float]) -> tuple[EventModel, Singles]:
        """Expected outcomes after a send, shape (channels, 1, 1, 1 + draws)."""
        linear = self._channels.get(channels)
        if linear is None:
            if len(self._channels) >= KEPT_COSTS:
                self._channels.clear()
            codes = [(Family.CHANNEL, self._columns.shared(Family.CHANNEL, channel_name(line))) for line in channels]
            places = [self._columns.own(code) for code in codes]
            linear = self._channels[channels] = self._base + gathered(self._weights, np.array(places))
        if any(history):
            linear = linear + np.array(history, dtype=np.float32) @ self._history
        return self._model, _outcomes(self._model, linear)[:, None, None]


class Exact:
    """The models at the posterior mean, for single decisions and in 64 bits."""

    def __init__(self, arguments: EventArguments, models: Mapping[str, EventModel], columns: Columns) -> None:
        self._arguments = arguments
        self._models = list(models.values())
        self._after_send = [_spread(columns, model.after_send) for model in self._models]
        self._after_silence = [_spread(columns, model.after_silence) for model in self._models]

    def value(self, row: Row, channel: str | None) -> float:
        """The value of a send on a channel, or of silence: None."""
        outcomes = self.outcomes(row, is_send=channel is not None)
        pairs = list(zip(self._models, outcomes, strict=True))
        value = sum(worth_of(self._arguments, model) * outcome for model, outcome in pairs)
        if self._arguments.default:
            value += self._arguments.default * prod(1.0 - outcome for model, outcome in pairs if not model.is_numeric)
        value -= 0.0 if channel is None else self._arguments.costs.get(channel, 0.0)
        low, high = self._arguments.bounds
        return min(max(value, low), high)

    def outcomes(self, row: Row, *, is_send: bool) -> list[float]:
        """Expected outcome of each event."""
        weights = self._after_send if is_send else self._after_silence
        return [
            0.0 if one is None else self._outcome(model, float(one[row.places] @ row.values))
            for model, one in zip(self._models, weights, strict=True)
        ]

    def effects(self, row: Row, *, is_send: bool) -> Floats:
        """By how much the value would be lower without each weight of the row, all others as they are."""
        weights = self._after_send if is_send else self._after_silence
        effects = np.zeros(len(row.places))
        for model, one in zip(self._models, weights, strict=True):
            if one is not None:
                parts = one[row.places] * row.values
                linear = parts.sum()
                lost = model.size * parts if model.is_numeric else sigmoid(np.full(1, linear)) - sigmoid(linear - parts)
                effects += worth_of(self._arguments, model) * lost
        return effects

    @staticmethod
    def _outcome(model: EventModel, linear: float) -> float:
        return model.size * linear if model.is_numeric else 0.5 * (1.0 + tanh(0.5 * linear))


def _spread(columns: Columns, served: Served | None) -> Floats | None:
    return None if served is None else served.posterior.spread(columns, served.shape)
