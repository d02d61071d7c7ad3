"""Users with a known truth: how each of them would respond to any action.

The service sees a user's features. The world knows the traits behind them, of which the features show only a part
(`sim.world.population`), the surface of responses (`sim.world.surface`), and the effects of earlier sends
(`sim.world.state`). For user u, channel c, content m, local hour h and weekday w of the send, decided on day t:

    click(u, c, m, h, w, t) = sigmoid(g - burden_u(t) - staleness_um(t))                    0 where u has muted c
                              or, in a world with a step, LOW + (HIGH - LOW) [g - burden - staleness > 0]
    opt_out(u, c, t)        = sigmoid(OPT_OUT_c + annoyance_u + PRESSURE sensitivity_u F_u(t))   0 where muted
    mute(u, c, t)           = sigmoid(MUTE_c + annoyance_u + PRESSURE sensitivity_u F_u(t))      0 where muted
    visit(u)                = sigmoid(VISIT + activity_u)

OPT_OUT_c, MUTE_c and VISIT are such that the means over the users, at F = 0, are the preset's rates. After a send one
thing happens: a click; if there is none, an opt-out; if there is none, an organic visit or nothing, as after silence. A
user who neither clicked nor opted out may also mute the channel, which is not reported. The expected reward of a send,
with the worths w of the campaign's own reward rule:

    p w_click + (1 - p) (o w_opt_out + (1 - o) (v w_visit + (1 - v) w_nothing))

A response comes after the send with a truncated exponential delay; an organic visit happens at any moment of the hours
in which it counts; `sim.world.laws.Reporting` has the numbers. A report can be lost or come twice; this does not change
what users do.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandit.campaign.checks import parse_campaign
from bandit.campaign.document import Campaign
from bandit.campaign.rewards import SeenEvent, reward_of
from bandit.domain import SILENCE, Action
from bandit.sendtimes import SendTime, candidate_times, zone
from bandit.times import DAY, HOUR
from sim.common.arrays import Floats, Ints
from sim.world.laws import ContentLaw, Preset
from sim.world.population import AGE_BANDS, COUNTRIES, Population, draw_population, level, sigmoid
from sim.world.presets import DEMO
from sim.world.state import Bools, Past, State, habituation
from sim.world.surface import Surface, chance, draw_surface

Document = dict[str, Any]

# A Monday in the past, so that the database can be served with the system's clock afterwards: no reward is still open.
START = datetime(2025, 1, 6, tzinfo=UTC)
CLICKED, UNSUBSCRIBED, VISITED = "clicked", "unsubscribed", "visited"
MUTED = "muted"  # what the sender never hears of
REPEATED_HOURS = 1.0  # within which a report that comes twice comes again


def campaign_document(preset: Preset, campaign_id: str) -> Document:
    """The campaign of a world, as a document of the HTTP interface."""
    worst, best = min(-1.0, preset.unsubscribed), max(1.0, preset.clicked)
    return {
        "id": campaign_id,
        "horizon_hours": preset.horizon_hours,
        "channels": {channel: {"cost": cost} for channel, cost in preset.channels.items()},
        "contents": [] if preset.library else [content_document(content) for content in preset.contents],
        "send_times": {"local_hours": list(preset.local_hours), "allow_now": False, "quiet_hours": "none"},
        "reward": {
            "window_hours": preset.window_hours,
            "bounds": [worst - max(preset.channels.values()), best],
            "events": {CLICKED: preset.clicked, UNSUBSCRIBED: preset.unsubscribed, VISITED: preset.visited},
        },
    }


def content_document(content: ContentLaw, embedding: Floats | None = None) -> Document:
    """A content as on the wire, in a campaign or in a request."""
    numbers = {} if embedding is None else {"embedding": embedding.tolist()}
    return {"id": content.id, "features": {"topic": content.topic, **numbers}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An action of a user after a decision."""

    name: str  # of the campaign's reward events, or "muted"
    occurred_at: datetime  # aware, UTC
    reported_at: tuple[datetime, ...]  # times of the reports: none, one or two


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One user at one moment: an opportunity to decide."""

    user: int  # place in the population
    now: datetime  # aware, UTC


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """Silence and all possible sends to a user, channel-major, with their places."""

    actions: tuple[Action, ...]
    channels: Ints  # shape (actions - 1,), as all below
    contents: Ints
    hours: Ints  # on the user's clock
    weekdays: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Chances:
    """Probabilities of events after sends; their shapes broadcast together."""

    click: Floats
    opt_out: Floats  # if not clicked
    mute: Floats  # if neither clicked nor opted out
    visit: Floats  # the same condition, and after silence


class World:
    """A population whose response to every action is known.

    Users are places 0..n-1. The world itself never changes: the effects of sends are in the `State` of a run.
    """

    def __init__(
        self,
        preset: Preset,
        campaign_id: str,
        population: Population,
        surfaces: Sequence[Surface],
        *,
        joined: Floats,
        seed: int,
    ) -> None:
        """
        Args:
            surfaces: the first surface, and one after each abrupt change.
            joined: shape (n,), day on which a user joins.
            seed: decides which contents are awake for which users.
        """
        self.preset, self.joined, self.seed = preset, joined, seed
        self.document = campaign_document(preset, campaign_id)
        self.campaign: Campaign = parse_campaign(json.dumps(self.document))
        self.features, self.traits, self.surfaces = population.features, population.traits, surfaces
        self.channels, self.contents = tuple(self.campaign.channels), tuple(one.id for one in preset.contents)
        self._from_days = np.array([content.from_day for content in preset.contents])
        self._awake = np.array([content.awake for content in preset.contents])
        self._always_all = preset.library is None and bool((self._from_days <= 0).all() and (self._awake == 1).all())
        self._opt_out_levels = self._hazard_levels(preset.hazards.opt_out)
        self._mute_levels = self._hazard_levels(preset.hazards.mute)
        self._visit_level = level(preset.organic_rate, self.traits.activity)
        self.visit_chances = sigmoid(self._visit_level + self.traits.activity)  # shape (n,)
        # Rewards by event, shape (channels + 1, 4): a click, an opt-out, a visit, nothing; silence is the last row.
        outcomes = (CLICKED, UNSUBSCRIBED, VISITED, None)
        self.worths = np.array([[self._worth(way, event) for event in outcomes] for way in (*self.channels, None)])

    def __len__(self) -> int:
        return len(self.features.age)

    def with_users(self, population: Population, surfaces: Sequence[Surface]) -> "World":
        """The same world with other users; what was solved for over its own users stays as it is.

        Args:
            surfaces: as many as there are, with the tastes of these users.
        """
        other = copy(self)
        other.features, other.traits, other.surfaces = population.features, population.traits, surfaces
        other.joined = np.zeros(len(population))
        other.visit_chances = sigmoid(self._visit_level + population.traits.activity)
        return other

    def new_state(self) -> State:
        """The state of users without any sends."""
        return State(len(self), len(self.channels), len(self.contents))

    def user_document(self, user: int) -> Document:
        """The features of a user, as a document of the HTTP interface."""
        seen, topics = self.features, self.preset.topics
        return {
            "id": f"u-{user}",
            "timezone": str(seen.zone[user]),
            "features": {
                "country": COUNTRIES[seen.country[user]],
                "age_band": AGE_BANDS[seen.age[user]],
                "premium": bool(seen.premium[user]),
                "topics": [topic for topic, listed in zip(topics, seen.topics[user], strict=True) if listed],
                "visits_per_week": round(float(seen.visits_per_week[user]), 1),
                "dismissed_share": round(float(seen.dismissed_share[user]), 2),
                **({"segment": f"s-{seen.segment[user]}"} if self.preset.segments else {}),
            },
        }

    def contents_asked(self, user: int, now: datetime) -> list[Any] | None:
        """The contents of a request as on the wire: None for the whole catalogue, ids, or whole contents."""
        there = self.contents_for(user, now)
        if self.preset.library is not None:
            embeddings = self.surface(day_of(now)).embeddings
            return [
                content_document(self.preset.contents[one], None if embeddings is None else embeddings[one])
                for one in there
            ]
        return [self.contents[one] for one in there] if len(there) < len(self.contents) else None

    def arrivals(self, *, start: datetime, per_day: float | None, rng: np.random.Generator) -> Iterator[Arrival]:
        """Users in time order, without end.

        Args:
            per_day: number of random users, at the moments of a Poisson process; None: every user once a day, each at a
                time of day of its own.
        """
        return self._daily_arrivals(start, rng) if per_day is None else self._random_arrivals(start, per_day, rng)

    def _random_arrivals(self, start: datetime, per_day: float, rng: np.random.Generator) -> Iterator[Arrival]:
        now = start.astimezone(UTC)
        while True:
            now += float(rng.exponential(1.0 / per_day)) * DAY
            user = int(rng.integers(len(self)))
            while self.joined[user] > day_of(now):
                user = int(rng.integers(len(self)))
            yield Arrival(user=user, now=now)

    def _daily_arrivals(self, start: datetime, rng: np.random.Generator) -> Iterator[Arrival]:
        moments = rng.random(len(self))
        order, today = np.argsort(moments), start.astimezone(UTC)
        while True:
            for user in order:
                now = today + float(moments[user]) * DAY
                if self.joined[user] <= day_of(now):
                    yield Arrival(user=int(user), now=now)
            today += DAY

    def surface(self, day: float) -> Surface:
        """The surface on that day."""
        return self.surfaces[int(np.searchsorted(self.preset.change.abrupt_days, day, side="right"))]

    def available(self, users: Ints, day: float) -> Bools:
        """Whether each content exists and is awake for each user on that day, or on offer; shape (n, contents)."""
        there = np.broadcast_to(self._from_days <= day, (len(users), len(self.contents)))
        library = self.preset.library
        if library is None and (self._awake == 1).all():
            return there
        keys = (int(day) * len(self) + users)[:, None] * len(self.contents) + np.arange(len(self.contents))
        noise = _noise(keys, self.seed)
        awake: Bools = there & (noise < self._awake)
        if library is None:
            return awake
        ranked = np.where(awake, noise, np.inf)
        last = np.partition(ranked, library.offered - 1, axis=1)[:, library.offered - 1]
        offered: Bools = awake & (ranked <= last[:, None])
        return offered

    def contents_for(self, user: int, now: datetime) -> tuple[int, ...]:
        """Places of the contents that can be sent to a user."""
        if self._always_all:
            return tuple(range(len(self.contents)))
        found = np.flatnonzero(self.available(np.array([user]), day_of(now))[0])
        return tuple(int(place) for place in found)

    def offer(self, user: int, now: datetime, state: State) -> Offer:
        """The actions that are possible for a user now."""
        times = candidate_times(
            now=now,
            zone=zone(str(self.features.zone[user])),
            local_hours=self.campaign.send_times.local_hours,
            allow_now=self.campaign.send_times.allow_now,
            horizon_hours=self.campaign.horizon_hours,
        )
        reachable = tuple(np.flatnonzero(~state.left[user]).tolist())
        return _offer(self.channels, self.contents, reachable, self.contents_for(user, now), times)

    def chances(
        self,
        users: Ints,
        channels: Ints,
        contents: Ints,
        hours: Ints,
        weekdays: Ints,
        *,
        day: float,
        state: Past,
    ) -> Chances:
        """Probabilities of events after sends; the arrays of places broadcast together."""
        law, hazard = self.preset.pressure, self.preset.hazards.pressure
        strain = self.traits.sensitivity[users] * state.felt_sends(law, users, day)
        burden = law.fatigue * strain + habituation(law, state.remembered_sends(law, users, day))
        log_odds = self.surface(day).log_odds(users, channels, contents, hours, weekdays, self._angle(day))
        heard = state.hears(users, channels)
        annoyed = self.traits.annoyance[users] + hazard * strain
        return Chances(
            click=heard * chance(log_odds - burden - state.staleness(law, users, contents, day), self.preset.step),
            opt_out=heard * sigmoid(self._opt_out_levels[channels] + annoyed),
            mute=heard * sigmoid(self._mute_levels[channels] + annoyed),
            visit=self.visit_chances[users],
        )

    def send_values(self, chances: Chances, channels: Ints) -> Floats:
        """Expected reward of sends, costs and opt-outs included."""
        clicked, unsubscribed, visited, nothing = np.moveaxis(self.worths[channels], -1, 0)
        p, o, v = chances.click, chances.opt_out, chances.visit
        values: Floats = p * clicked + (1 - p) * (o * unsubscribed + (1 - o) * (v * visited + (1 - v) * nothing))
        return values

    def silence_values(self, users: Ints) -> Floats:
        """Expected reward of sending nothing."""
        visits = self.visit_chances[users]
        values: Floats = visits * self.worths[-1, 2] + (1 - visits) * self.worths[-1, 3]
        return values

    def expected_rewards(self, user: int, offer: Offer, now: datetime, state: State) -> Floats:
        """True mean reward of each action of the offer, exact: shape (actions,)."""
        values: Floats = self.expected_rewards_of(np.array([[user]]), offer, now, state)[0]
        return values

    def expected_rewards_of(self, users: Ints, offer: Offer, now: datetime, past: Past) -> Floats:
        """The same for many users with one offer: shape (users, actions).

        Args:
            users: shape (users, 1).
        """
        silence = self.silence_values(users)
        if len(offer.actions) == 1:
            return silence
        sends = self.send_values(self._chances(users, offer, slice(None), now, past), offer.channels)
        return np.hstack([silence, sends])

    def _chances(self, users: Ints, offer: Offer, places: slice, now: datetime, past: Past) -> Chances:
        """Probabilities of events after some of the sends of an offer."""
        return self.chances(
            users,
            offer.channels[places],
            offer.contents[places],
            offer.hours[places],
            offer.weekdays[places],
            day=day_of(now),
            state=past,
        )

    def respond(
        self, user: int, offer: Offer, place: int, *, now: datetime, state: State, rng: np.random.Generator
    ) -> list[Event]:
        """The user's response to the action at that place, drawn from the truth; at most one event, apart from a mute.

        It uses the same number of random numbers for every action, so that two policies with the same seed and the same
        opportunities meet the same luck. The state does not change: a response takes effect when it happens.
        """
        luck = rng.random(8)
        send_at = offer.actions[place].send_at
        if send_at is None:
            return self._visits(float(self.visit_chances[user]), now, luck)
        chances = self._chances(np.array(user), offer, slice(place - 1, place), now, state)
        responded_at = send_at + self._response_hours(luck[4]) * HOUR
        if luck[0] < chances.click[0]:
            return [_event(CLICKED, responded_at, luck, self.preset)]
        if luck[1] < chances.opt_out[0]:
            return [_event(UNSUBSCRIBED, responded_at, luck, self.preset)]
        visits = self._visits(float(chances.visit), now, luck)
        muted = luck[2] < chances.mute[0]
        return [*visits, Event(name=MUTED, occurred_at=responded_at, reported_at=())] if muted else visits

    def _visits(self, chance: float, now: datetime, luck: Floats) -> list[Event]:
        visited_at = now + float(luck[4]) * self.preset.reporting.organic_hours * HOUR
        return [_event(VISITED, visited_at, luck, self.preset)] if luck[3] < chance else []

    def _response_hours(self, luck: float) -> float:
        """Inverse CDF of an exponential delay that is truncated at the longest delay."""
        law = self.preset.reporting
        longest = law.response_hours / law.response_mean_hours
        return float(-law.response_mean_hours * np.log1p(luck * np.expm1(-longest)))

    def reward(self, channel: str | None, events: Sequence[Event]) -> float:
        """The reward after these events by the campaign's own rule; `channel` None is silence."""
        seen = [SeenEvent(event=event.name, value=None, occurred_at=event.occurred_at) for event in events]
        return reward_of(self.campaign, channel, seen)

    def _worth(self, channel: str | None, event: str | None) -> float:
        events = [] if event is None else [Event(name=event, occurred_at=datetime.min, reported_at=())]
        return self.reward(channel, events)

    def _hazard_levels(self, rates: Mapping[str, float]) -> Floats:
        return np.array([level(rates.get(channel, 0.0), self.traits.annoyance) for channel in self.channels])

    def _angle(self, day: float) -> float:
        period = self.preset.change.drift_days
        return 0.0 if period is None else 2 * np.pi * day / period


def day_of(now: datetime) -> float:
    """Days since the world began."""
    return (now - START) / DAY


def _event(name: str, occurred_at: datetime, luck: Floats, preset: Preset) -> Event:
    """The event, with the times of its reports."""
    law = preset.reporting
    again = (occurred_at + float(luck[7]) * REPEATED_HOURS * HOUR,) if luck[6] < law.duplicated else ()
    reports = () if luck[5] < law.lost else (occurred_at, *again)
    return Event(name=name, occurred_at=occurred_at, reported_at=reports)


@lru_cache(maxsize=4_096)  # users in the same zone have the same send times for hours
def _offer(
    channels: tuple[str, ...],
    contents: tuple[str, ...],
    reachable: tuple[int, ...],
    available: tuple[int, ...],
    times: tuple[SendTime, ...],
) -> Offer:
    cells = [(channel, content, time) for channel in reachable for content in available for time in times]
    sends = (Action(channel=channels[c], content=contents[m], send_at=time.send_at) for c, m, time in cells)
    return Offer(
        actions=(SILENCE, *sends),
        channels=np.array([channel for channel, _, _ in cells], dtype=np.intp),
        contents=np.array([content for _, content, _ in cells], dtype=np.intp),
        hours=np.array([time.local_hour for _, _, time in cells], dtype=np.intp),
        weekdays=np.array([time.weekday for _, _, time in cells], dtype=np.intp),
    )


def _noise(keys: NDArray[np.intp], seed: int) -> Floats:
    """A pseudo-random number in [0, 1) for each key, always the same: SplitMix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        z = (keys.astype(np.uint64) + np.uint64(seed) * np.uint64(2**32)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    noise: Floats = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return noise


def build_world(
    *, seed: int, preset: Preset = DEMO, n_users: int | None = None, campaign_id: str | None = None
) -> World:
    """A world of this kind; the seed decides its tables and its population.

    Args:
        n_users: None: the number of the preset.
        campaign_id: None: the preset's name.
    """
    rng = np.random.default_rng(seed)
    users = preset.users if n_users is None else n_users
    population = draw_population(users, len(preset.topics), preset.spreads, rng, segments=preset.segments)
    change = preset.change
    joined = np.where(rng.random(users) < change.newcomers, change.joining_days * rng.random(users), 0.0)
    embeddings = _embeddings(preset, rng)
    return World(
        preset,
        preset.name if campaign_id is None else campaign_id,
        population,
        [draw_surface(preset, population, rng, embeddings=embeddings) for _ in range(1 + len(change.abrupt_days))],
        joined=joined,
        seed=seed,
    )


def _embeddings(preset: Preset, rng: np.random.Generator) -> Floats | None:
    """Of the contents of a library, standard normal, to three decimals as on the wire; None without one."""
    if preset.library is None:
        return None
    return np.round(rng.normal(size=(len(preset.contents), preset.library.numbers)), 3)
