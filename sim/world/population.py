"""Simulated users: the features that the service gets, and the hidden traits behind them.

    activity_u    = ACTIVITY z_u                                          z shows in visits_per_week, through noise
    annoyance_u   = ANNOYANCE y_u                                         y shows in dismissed_share, through noise
    sensitivity_u = exp(SENSITIVITY (0.6 y_u + 0.8 hidden))               how hard pressure hits
    leaning_uc    = LEANING s_c (by_age + by_country + by_premium + hidden)        s_c from +1 to -1 over the channels
    taste_uk      = TASTE ([u lists topic k] + by_country + by_age + hidden)
    rhythm_u(h)   = RHYTHM cos(2 pi (h - peak_u) / 24),                   peak_u = by_age + by_premium + hidden
    liking_ui     = EMBEDDING (common_i + by_age + by_country + hidden) / sqrt(numbers)         i over an embedding

z, y and `hidden` are normal, drawn per user; `hidden` shows in no feature. Each by_... is a table drawn once per
surface, so it can be learned from the features. The words in capitals are `sim.world.laws.Spreads`. leaning, taste,
rhythm and liking are tastes: a world that changes abruptly draws them again for the same users.

Where users fall into segments, what a segment makes of a channel, a topic and an hour, SEGMENT times a standard normal
each, is added to leaning, taste and rhythm.
"""

from dataclasses import dataclass, replace
from math import sqrt

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
HIDDEN = 0.3  # scale of what is hidden in leaning, taste and liking
HIDDEN_PEAK = 1.5  # hours
USUAL_VISITS = 2.0  # a week, of a user of median activity
SHOWN_NOISE = 0.4  # in log-odds, with which activity and annoyance show in a feature
COMMON, BY_GROUP = 0.6, 0.5  # scales in the liking


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
    segment: Ints  # shape (n,); 0 for everybody where there are no segments


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """Permanent traits of the users; in log-odds, except the sensitivity."""

    activity: Floats  # shape (n,)
    annoyance: Floats  # shape (n,)
    sensitivity: Floats  # shape (n,): factor on all pressure, 1 at the median


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The part of users' tastes that follows from their features, before the scales of `Spreads`."""

    leaning: Floats  # shape (n,)
    taste: Floats  # shape (n, topics)
    peak: Floats  # shape (n,), local hours
    liking: Floats  # shape (n, numbers of an embedding)
    segment_leaning: Floats  # shape (n, channels), this and the next two in log-odds
    segment_taste: Floats  # shape (n, topics)
    segment_rhythm: Floats  # shape (n, 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """The part that no feature shows; of the same shapes."""

    leaning: Floats
    taste: Floats
    peak: Floats
    liking: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Tastes:
    """Preferences of the users for messages, in log-odds."""

    leaning: Floats  # shape (n, channels)
    taste: Floats  # shape (n, topics)
    rhythm: Floats  # shape (n, 24): by the hour on the user's clock
    liking: Floats  # shape (n, numbers of an embedding)
    shown: Shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Users, by their places 0..n-1."""

    features: Features
    traits: Traits

    def __len__(self) -> int:
        return len(self.features.age)


def draw_population(
    n_users: int, n_topics: int, spreads: Spreads, rng: np.random.Generator, *, segments: int = 0
) -> Population:
    """Users with their features and permanent traits."""
    z, y = rng.normal(size=n_users), rng.normal(size=n_users)
    features = _draw_features(spreads.activity * z, spreads.annoyance * y, n_topics, rng)
    traits = traits_of(z, y, rng.normal(size=n_users), spreads)
    if segments:  # drawn last: the users of a world without segments stay who they were
        features = replace(features, segment=rng.integers(segments, size=n_users))
    return Population(features=features, traits=traits)


def traits_of(z: Floats, y: Floats, hidden: Floats, spreads: Spreads) -> Traits:
    """What lasts in users, from three standard normal numbers each."""
    return Traits(
        activity=spreads.activity * z,
        annoyance=spreads.annoyance * y,
        sensitivity=np.exp(spreads.sensitivity * (0.6 * y + 0.8 * hidden)),
    )


def _draw_features(activity: Floats, annoyance: Floats, n_topics: int, rng: np.random.Generator) -> Features:
    n = len(activity)
    country = rng.integers(len(COUNTRIES), size=n)
    return Features(
        country=country,
        zone=_draw_zones(country, rng),
        age=rng.integers(len(AGE_BANDS), size=n),
        premium=rng.random(n) < 0.25,
        topics=rng.random((n, n_topics)) < 0.4,
        visits_per_week=USUAL_VISITS * np.exp(activity + rng.normal(scale=SHOWN_NOISE, size=n)),
        dismissed_share=sigmoid(annoyance + rng.normal(scale=SHOWN_NOISE, size=n)),
        segment=np.zeros(n, dtype=np.intp),
    )


def _draw_zones(country: Ints, rng: np.random.Generator) -> NDArray[np.str_]:
    """One of the zones of each country, each equally likely."""
    names = np.array([name for zones in ZONES.values() for name in zones])
    counts = np.array([len(zones) for zones in ZONES.values()])
    firsts = np.cumsum(counts) - counts
    places = firsts[country] + (rng.random(len(country)) * counts[country]).astype(np.intp)
    drawn: NDArray[np.str_] = names[places]
    return drawn


def draw_tastes(seen: Features, n_channels: int, n_numbers: int, spreads: Spreads, rng: np.random.Generator) -> Tastes:
    """Tastes of these users, with tables of their own.

    Args:
        n_numbers: of an embedding; 0 where contents have none.
    """
    # What is shown and what is hidden of each in turn, so that the luck of older worlds stays the same.
    leaning, hidden_leaning = _leaning(seen, rng)
    taste, hidden_taste = _taste(seen, rng)
    peak, hidden_peak = _peak(seen, rng)
    liking, hidden_liking = _liking(seen, n_numbers, rng)
    shown = Shown(
        leaning=leaning,
        taste=taste,
        peak=peak,
        liking=liking,
        segment_leaning=_by_segment(seen, n_channels, spreads, rng),
        segment_taste=_by_segment(seen, seen.topics.shape[1], spreads, rng),
        segment_rhythm=_by_segment(seen, 24, spreads, rng),
    )
    hidden = Hidden(leaning=hidden_leaning, taste=hidden_taste, peak=hidden_peak, liking=hidden_liking)
    return tastes_of(shown, hidden, spreads)


def draw_hidden(shown: Shown, rng: np.random.Generator) -> Hidden:
    """Another draw of what is hidden of the same users."""
    return Hidden(
        leaning=_normal(rng, HIDDEN, shown.leaning.shape),
        taste=_normal(rng, HIDDEN, shown.taste.shape),
        peak=_normal(rng, HIDDEN_PEAK, shown.peak.shape),
        liking=_normal(rng, HIDDEN, shown.liking.shape),
    )


def _normal(rng: np.random.Generator, scale: float, shape: tuple[int, ...]) -> Floats:
    return rng.normal(scale=scale, size=shape)


def _leaning(seen: Features, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The shown part and the hidden part; the next three functions return the same two."""
    shown = (
        rng.permuted(AGE_LEANINGS)[seen.age]
        + rng.normal(scale=0.3, size=len(COUNTRIES))[seen.country]
        + rng.normal(scale=0.3, size=2)[seen.premium.astype(np.intp)]
    )
    return shown, _normal(rng, HIDDEN, shown.shape)


def _taste(seen: Features, rng: np.random.Generator) -> tuple[Floats, Floats]:
    n_topics = seen.topics.shape[1]
    shown = (
        seen.topics
        + rng.normal(scale=0.3, size=(len(COUNTRIES), n_topics))[seen.country]
        + rng.normal(scale=0.3, size=(len(AGE_BANDS), n_topics))[seen.age]
    )
    return shown, _normal(rng, HIDDEN, shown.shape)


def _peak(seen: Features, rng: np.random.Generator) -> tuple[Floats, Floats]:
    shown = rng.permuted(AGE_PEAKS)[seen.age] + rng.normal(scale=2.0, size=2)[seen.premium.astype(np.intp)]
    return shown, _normal(rng, HIDDEN_PEAK, shown.shape)


def _liking(seen: Features, n_numbers: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    shown = (
        rng.normal(scale=COMMON, size=n_numbers)
        + rng.normal(scale=BY_GROUP, size=(len(AGE_BANDS), n_numbers))[seen.age]
        + rng.normal(scale=BY_GROUP, size=(len(COUNTRIES), n_numbers))[seen.country]
    )
    return shown, _normal(rng, HIDDEN, shown.shape)


def _by_segment(seen: Features, width: int, spreads: Spreads, rng: np.random.Generator) -> Floats:
    """What each user's segment makes of so many things; nothing where the spread is 0, which takes no luck either."""
    n_segments = 1 + int(seen.segment.max())
    if spreads.segment == 0.0:
        return np.zeros((len(seen.segment), width))
    drawn: Floats = rng.normal(scale=spreads.segment, size=(n_segments, width))[seen.segment]
    return drawn


def tastes_of(shown: Shown, hidden: Hidden, spreads: Spreads) -> Tastes:
    """The tastes that what is shown and what is hidden make together."""
    sides = np.linspace(1.0, -1.0, shown.segment_leaning.shape[1])
    numbers = shown.liking.shape[1]
    return Tastes(
        leaning=spreads.leaning * (shown.leaning + hidden.leaning)[:, None] * sides + shown.segment_leaning,
        taste=spreads.taste * (shown.taste + hidden.taste) + shown.segment_taste,
        rhythm=spreads.rhythm * daily(shown.peak + hidden.peak) + shown.segment_rhythm,
        liking=spreads.embedding / sqrt(max(numbers, 1)) * (shown.liking + hidden.liking),
        shown=shown,
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
