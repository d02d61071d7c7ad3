"""Simulated users: the features that the service gets, and the hidden traits behind them.

    activity_u    = ACTIVITY z_u                                          z shows in visits_per_week, through noise
    annoyance_u   = ANNOYANCE y_u                                         y shows in dismissed_share, through noise
    sensitivity_u = exp(SENSITIVITY (0.6 y_u + 0.8 hidden))               how hard pressure hits
    leaning_uc    = LEANING s_c (by_age + by_country + by_premium + hidden)        s_c from +1 to -1 over the channels
    taste_uk      = TASTE ([u lists topic k] + by_country + by_age + hidden)
    rhythm_u(h)   = RHYTHM cos(2 pi (h - peak_u) / 24),                   peak_u = by_age + by_premium + hidden

z, y and `hidden` are normal, drawn per user; `hidden` shows in no feature. Each by_... is a table drawn once per
surface, so it can be learned from the features. The words in capitals are `sim.world.laws.Spreads`. leaning, taste
and rhythm are tastes: a world that changes abruptly draws them again for the same users.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from sim.common.arrays import Floats, Ints
from sim.world.laws import Spreads

ZONES = {
    "US": ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"),
    "GB": ("Europe/London",),
    "DE": ("Europe/Berlin",),
    "IN": ("Asia/Kolkata",),
    "BR": ("America/Sao_Paulo", "America/Manaus"),
    "JP": ("Asia/Tokyo",),
}
COUNTRIES = tuple(ZONES)
AGE_BANDS = ("18-24", "25-39", "40-59", "60+")
AGE_LEANINGS = (-0.75, -0.25, 0.25, 0.75)  # distributed over the age bands
AGE_PEAKS = (8.0, 12.0, 18.0, 21.0)  # local hours, distributed in the same way


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """The features of every user that the service gets."""

    country: Ints  # shape (n,), places in COUNTRIES
    zone: NDArray[np.str_]  # shape (n,), IANA names
    age: Ints  # shape (n,), places in AGE_BANDS
    premium: NDArray[np.bool_]  # shape (n,)
    topics: NDArray[np.bool_]  # shape (n, topics): listed by the user
    visits_per_week: Floats  # shape (n,)
    dismissed_share: Floats  # shape (n,), in (0, 1): of past messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """Permanent traits of the users; in log-odds, except the sensitivity."""

    activity: Floats  # shape (n,)
    annoyance: Floats  # shape (n,)
    sensitivity: Floats  # shape (n,): factor on all pressure, 1 at the median


@dataclass(frozen=True, slots=True, kw_only=True)
class Tastes:
    """Preferences of the users for messages, in log-odds."""

    leaning: Floats  # shape (n, channels)
    taste: Floats  # shape (n, topics)
    rhythm: Floats  # shape (n, 24): by the hour on the user's clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Users, by their places 0..n-1."""

    features: Features
    traits: Traits

    def __len__(self) -> int:
        return len(self.features.age)


def draw_population(n_users: int, n_topics: int, spreads: Spreads, rng: np.random.Generator) -> Population:
    """Users with their features and permanent traits."""
    z, y = rng.normal(size=n_users), rng.normal(size=n_users)
    activity, annoyance = spreads.activity * z, spreads.annoyance * y
    features = _draw_features(activity, annoyance, n_topics, rng)
    hardness = 0.6 * y + 0.8 * rng.normal(size=n_users)
    traits = Traits(activity=activity, annoyance=annoyance, sensitivity=np.exp(spreads.sensitivity * hardness))
    return Population(features=features, traits=traits)


def _draw_features(activity: Floats, annoyance: Floats, n_topics: int, rng: np.random.Generator) -> Features:
    n = len(activity)
    country = rng.integers(len(COUNTRIES), size=n)
    return Features(
        country=country,
        zone=_draw_zones(country, rng),
        age=rng.integers(len(AGE_BANDS), size=n),
        premium=rng.random(n) < 0.25,
        topics=rng.random((n, n_topics)) < 0.4,
        visits_per_week=2.0 * np.exp(activity + rng.normal(scale=0.4, size=n)),
        dismissed_share=sigmoid(annoyance + rng.normal(scale=0.4, size=n)),
    )


def _draw_zones(country: Ints, rng: np.random.Generator) -> NDArray[np.str_]:
    """One of the zones of each country, each equally likely."""
    names = np.array([name for zones in ZONES.values() for name in zones])
    counts = np.array([len(zones) for zones in ZONES.values()])
    firsts = np.cumsum(counts) - counts
    places = firsts[country] + (rng.random(len(country)) * counts[country]).astype(np.intp)
    drawn: NDArray[np.str_] = names[places]
    return drawn


def draw_tastes(seen: Features, n_channels: int, spreads: Spreads, rng: np.random.Generator) -> Tastes:
    """Tastes of these users, with tables of their own."""
    n, n_topics = seen.topics.shape
    country, age, premium = seen.country, seen.age, seen.premium.astype(np.intp)
    leaning = (
        rng.permuted(AGE_LEANINGS)[age]
        + rng.normal(scale=0.3, size=len(COUNTRIES))[country]
        + rng.normal(scale=0.3, size=2)[premium]
        + rng.normal(scale=0.3, size=n)
    )
    taste = (
        seen.topics
        + rng.normal(scale=0.3, size=(len(COUNTRIES), n_topics))[country]
        + rng.normal(scale=0.3, size=(len(AGE_BANDS), n_topics))[age]
        + rng.normal(scale=0.3, size=(n, n_topics))
    )
    peak = rng.permuted(AGE_PEAKS)[age] + rng.normal(scale=2.0, size=2)[premium] + rng.normal(scale=1.5, size=n)
    return Tastes(
        leaning=spreads.leaning * leaning[:, None] * np.linspace(1.0, -1.0, n_channels),
        taste=spreads.taste * taste,
        rhythm=spreads.rhythm * daily(peak),
    )


def daily(peak: Floats) -> Floats:
    """A wave over the 24 hours for each peak, shape (n, 24), in [-1, 1]."""
    wave: Floats = np.cos(2 * np.pi * (np.arange(24) - peak[:, None]) / 24)
    return wave


def sigmoid(log_odds: Floats) -> Floats:
    """Probability of the log-odds."""
    probability: Floats = 1.0 / (1.0 + np.exp(-log_odds))
    return probability


def level(target: float, log_odds: Floats) -> float:
    """The number to add to all log-odds so that their mean probability is the target; minus infinity for 0."""
    if target == 0.0:
        return -np.inf
    return float(brentq(lambda added: float(sigmoid(log_odds + added).mean()) - target, -40.0, 40.0, xtol=1e-10))
