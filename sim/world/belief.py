"""What can be known of users from their features alone: the truth, averaged over what no feature shows.

The tables, levels and rates of the world are taken as known, because they can be learned. Of a user, only the features
and the past sends are known. What is hidden is drawn many times from its distribution given the features:

    z given visits_per_week    normal:  precision 1 + ACTIVITY^2 / .4^2,  mean ACTIVITY log(visits_per_week / 2) / .4^2
    y given dismissed_share    the same, with ANNOYANCE and the share's log-odds        each mean over its precision
    every other `hidden`       as it was drawn for the user in the first place

The mean over the draws is what each action earns from users with these features. A policy that takes the best of these
means has learned everything that the features say, and nothing from the user's own answers. That is the most that a
learner can reach which meets each user only a few times. No feature shows that a user has muted a channel, so mutes are
not taken into account.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, TypeVar

import numpy as np

from sim.common.arrays import Floats, Ints
from sim.world.laws import Pressure, Spreads
from sim.world.population import (
    SHOWN_NOISE,
    USUAL_VISITS,
    Features,
    Population,
    Traits,
    draw_hidden,
    tastes_of,
    traits_of,
)
from sim.world.state import Bools, State
from sim.world.surface import Surface
from sim.world.world import Offer, World

DRAWS = 100  # of what is hidden, per user

Rows = TypeVar("Rows")


class FromFeatures:
    """Values actions by what the features show of a user."""

    def __init__(self, world: World, *, seed: int, draws: int = DRAWS) -> None:
        rng = np.random.default_rng(seed)
        users = np.repeat(np.arange(len(world)), draws)
        features = rows_of(world.features, users)
        population = Population(features=features, traits=_possible_traits(features, world.preset.spreads, rng))
        surfaces = [_possible(one, population, users, world.preset.spreads, rng) for one in world.surfaces]
        self._possible, self._draws = world.with_users(population, surfaces), draws

    def expected_rewards(self, user: int, offer: Offer, now: datetime, state: State) -> Floats:
        """Mean over the draws of the true reward of each action of the offer: shape (actions,)."""
        users = self._draws * user + np.arange(self._draws)[:, None]
        past = _Shared(state=state, draws=self._draws)
        values: Floats = self._possible.expected_rewards_of(users, offer, now, past).mean(axis=0)
        return values


def rows_of(table: Rows, rows: Ints) -> Rows:
    """The same table with these rows of every column, which may come again."""
    made: Callable[..., Rows] = type(table)
    columns: dict[str, Any] = {one.name: getattr(table, one.name)[rows] for one in fields(table)}  # type: ignore[arg-type]
    return made(**columns)


def _possible_traits(seen: Features, spreads: Spreads, rng: np.random.Generator) -> Traits:
    share = seen.dismissed_share
    z = _given(np.log(seen.visits_per_week / USUAL_VISITS), spreads.activity, rng)
    y = _given(np.log(share / (1.0 - share)), spreads.annoyance, rng)
    return traits_of(z, y, rng.normal(size=len(z)), spreads)


def _given(shown: Floats, spread: float, rng: np.random.Generator) -> Floats:
    """Draws of a standard normal x, given the spread times x plus noise."""
    precision = 1.0 + (spread / SHOWN_NOISE) ** 2
    mean = spread * shown / SHOWN_NOISE**2 / precision
    drawn: Floats = rng.normal(mean, precision**-0.5)
    return drawn


def _possible(
    surface: Surface, population: Population, users: Ints, spreads: Spreads, rng: np.random.Generator
) -> Surface:
    shown = rows_of(surface.tastes.shown, users)
    tastes = tastes_of(shown, draw_hidden(shown, rng), spreads)
    return replace(surface, traits=population.traits, tastes=tastes, ages=population.features.age)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """The past of a user, for each of the users that this one may be."""

    state: State
    draws: int

    def felt_sends(self, law: Pressure, users: Ints, day: float | Floats) -> Floats:
        return self.state.felt_sends(law, users // self.draws, day)

    def remembered_sends(self, law: Pressure, users: Ints, day: float | Floats) -> Floats:
        return self.state.remembered_sends(law, users // self.draws, day)

    def staleness(self, law: Pressure, users: Ints, contents: Ints, day: float | Floats) -> Floats:
        return self.state.staleness(law, users // self.draws, contents, day)

    def hears(self, users: Ints, channels: Ints) -> Bools:
        return np.ones(np.broadcast_shapes(users.shape, channels.shape), dtype=np.bool_)
