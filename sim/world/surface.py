"""The probability that a rested user responds to a message, by channel, content, local hour and weekday.

    g = activity_u - annoyance_u + leaning_uc + taste_uk + FIT_ck + WEEKLY_kw
        + rhythm_u(h - WEEKEND [w is Saturday or Sunday]) + moment_c(h) + mood_k(h) + quality_m(t)
        + THREE_akh + liking_u . embedding_m
    moment_c(h)  = MOMENT cos(2 pi (h - peak_c) / 24)        mood_k(h) = MOOD cos(2 pi (h - peak_k) / 24)
    quality_m(t) = level_m + QUALITY ((cos a - 1) z_m + (sin a) z'_m),       a = 2 pi t / DRIFT_DAYS, t in days

for user u of age band a, channel c, content m on topic k, hour h and weekday w on u's own clock. peak_c and peak_k are
uniform, FIT, WEEKLY, THREE, z and z' normal with the scales of `sim.world.laws.Spreads`, drawn once per surface. The
response to g is sigmoid(g), or in a world with a step LOW + (HIGH - LOW) [g > 0]. level_m is such that the mean
response at t = 0 over users, channels, hours and weekdays is exactly content m's rate: the preset's own for m, or
RATE exp(QUALITY z_m - QUALITY^2 / 2). The many contents of a library are levelled together: level_m = LEVEL +
QUALITY z_m, LEVEL such that the mean response to all of them is the preset's rate.
"""

from dataclasses import dataclass, replace

import numpy as np

from sim.common.arrays import Floats, Ints
from sim.world.laws import Preset, Step
from sim.world.population import AGE_BANDS, Population, Tastes, Traits, daily, draw_tastes, level, sigmoid

SATURDAY = 5
LEVELLED_USERS = 5_000  # users over whom the content rates are computed; the first ones of a larger population
LIBRARY_USERS = 200  # users over whom the rate of a library is computed, which has so many contents


def chance(log_odds: Floats, step: Step | None) -> Floats:
    """Probability of a response with these log-odds."""
    return sigmoid(log_odds) if step is None else np.where(log_odds > 0.0, step.high, step.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """The log-odds of a response of every user to every message."""

    traits: Traits
    tastes: Tastes
    topic_of: Ints  # shape (contents,)
    levels: Floats  # shape (contents,)
    turned: Floats  # shape (2, contents): change of the quality with cos a - 1, and with sin a
    moment: Floats  # shape (channels, 24)
    mood: Floats  # shape (topics, 24)
    fit: Floats  # shape (channels, topics)
    weekly: Floats  # shape (topics, 7)
    weekend_hours: int
    ages: Ints  # shape (n,), of the users
    three: Floats | None  # shape (ages, topics, 24); None where there is no such interaction
    embeddings: Floats | None  # shape (contents, numbers); None where contents have none

    def log_odds(
        self,
        users: Ints,
        channels: Ints,
        contents: Ints,
        hours: Ints,
        weekdays: Ints,
        angle: float | Floats,
    ) -> Floats:
        """g of sends; the arrays of places broadcast together."""
        topics, tastes = self.topic_of[contents], self.tastes
        later = (hours - self.weekend_hours * (weekdays >= SATURDAY)) % 24
        # Grouped so that terms that depend on few places are added while the arrays are small.
        total: Floats = (
            (self.traits.activity[users] - self.traits.annoyance[users])
            + tastes.leaning[users, channels]
            + (tastes.taste[users, topics] + self._quality(contents, angle))
            + (self.fit[channels, topics] + self.weekly[topics, weekdays] + self.mood[topics, hours])
            + (tastes.rhythm[users, later] + self.moment[channels, hours])
        )
        if self.three is not None:
            total = total + self.three[self.ages[users], topics, hours]
        if self.embeddings is not None:
            total = total + np.einsum("...i,...i", tastes.liking[users], self.embeddings[contents])
        return total

    def _quality(self, contents: Ints, angle: float | Floats) -> Floats:
        change = (np.cos(angle) - 1.0) * self.turned[0][contents] + np.sin(angle) * self.turned[1][contents]
        quality: Floats = self.levels[contents] + change
        return quality


def draw_surface(
    preset: Preset, population: Population, rng: np.random.Generator, *, embeddings: Floats | None = None
) -> Surface:
    """A surface for this population, whose contents have the rates of the preset.

    Args:
        embeddings: of the contents, shape (contents, numbers); None where they have none.
    """
    spreads, topics = preset.spreads, preset.topics
    n_channels, n_contents, n_topics = len(preset.channels), len(preset.contents), len(topics)
    numbers = 0 if embeddings is None else embeddings.shape[1]
    tastes = draw_tastes(population.features, n_channels, numbers, spreads, rng)
    effects = spreads.quality * rng.normal(size=(2, n_contents))
    surface = Surface(
        traits=population.traits,
        tastes=tastes,
        topic_of=np.array([topics.index(content.topic) for content in preset.contents]),
        levels=np.zeros(n_contents),
        turned=effects,
        moment=spreads.moment * daily(rng.uniform(0.0, 24.0, size=n_channels)),
        mood=spreads.mood * daily(rng.uniform(0.0, 24.0, size=n_topics)),
        fit=spreads.fit * rng.normal(size=(n_channels, n_topics)),
        weekly=spreads.weekly * rng.normal(size=(n_topics, 7)),
        weekend_hours=spreads.weekend_hours,
        ages=population.features.age,
        three=spreads.three * rng.normal(size=(len(AGE_BANDS), n_topics, 24)) if spreads.three else None,
        embeddings=embeddings,
    )
    if preset.library is not None:
        return _levelled_together(surface, preset, effects[0])
    return _levelled(surface, preset, _rates(preset, effects[0]))


def _rates(preset: Preset, effects: Floats) -> Floats:
    """Mean response to each content: its own, or the preset's with the content's effect; what a step can reach."""
    drawn = preset.response_rate * np.exp(effects - preset.spreads.quality**2 / 2)
    own = [content.rate for content in preset.contents]
    rates = np.array([drawn[place] if rate is None else rate for place, rate in enumerate(own)])
    return rates if preset.step is None else np.clip(rates, preset.step.low, preset.step.high)


def _levelled(surface: Surface, preset: Preset, rates: Floats) -> Surface:
    users, channels, hours, weekdays = _grid(preset, min(LEVELLED_USERS, len(surface.traits.activity)))
    levels = [
        _level(rate, surface.log_odds(users, channels, np.array(content), hours, weekdays, 0.0), preset.step)
        for content, rate in enumerate(rates)
    ]
    return replace(surface, levels=np.array(levels))


def _levelled_together(surface: Surface, preset: Preset, effects: Floats) -> Surface:
    users, channels, hours, weekdays = (
        places[..., None] for places in _grid(preset, min(LIBRARY_USERS, len(surface.traits.activity)))
    )
    every = np.arange(len(effects))
    log_odds = effects + surface.log_odds(users, channels, every, hours, weekdays, 0.0)
    return replace(surface, levels=effects + _level(preset.response_rate, log_odds, preset.step))


def _grid(preset: Preset, n_users: int) -> tuple[Ints, ...]:
    """Users, channels, hours and weekdays, which broadcast to all of them together."""
    return np.ix_(np.arange(n_users), np.arange(len(preset.channels)), np.array(preset.local_hours), np.arange(7))


def _level(rate: float, log_odds: Floats, step: Step | None) -> float:
    """What must be added to all the log-odds for the mean response to be the rate; of a step, to within one of them."""
    if step is None:
        return level(rate, log_odds)
    return -float(np.quantile(log_odds, (step.high - rate) / (step.high - step.low)))
