"""Users with a known truth: what each of them would do after any action.

The service sees a user's features; the world knows the traits behind them, of which the features show only a part.
For user u, channel c, content m on topic k, and the hour h that u's own clock reads at the send:

    click(u, c, m, h) = sigmoid(BASE + activity_u - annoyance_u + leaning_uc + taste_uk + quality_m
                                 + rhythm_u(h) + moment_c(h))
    opt_out(u, c)     = sigmoid(OPT_OUT_BASE + annoyance_u + EMAIL_OPT_OUT [c is email])
    visit(u)          = sigmoid(VISIT_BASE + activity_u)
    moment_c(h)       = MOMENT cos(2 pi (h - peak_c) / 24)

The traits (activity, annoyance, leaning, taste, rhythm) are those of `sim.population`; quality_m is normal and peak_c
uniform, drawn once per world. After a send one thing happens: a click; else an opt-out; else, as after silence, an
organic visit; else nothing. The expected reward of a send, with the worths w of the campaign's own reward rule:

    p w_click + (1 - p) (o w_opt_out + (1 - o) (v w_visit + (1 - v) w_nothing))

A click or an opt-out comes after the send by an exponential delay with a mean of an hour, cut at RESPONSE_HOURS; an
organic visit at any moment of the horizon.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

from bandit.campaign import Campaign, parse_campaign
from bandit.domain import SILENCE, Action
from bandit.errors import FieldError, ImpossibleInput
from bandit.rewards import SeenEvent, reward_of
from bandit.sendtimes import SendTime, candidate_times, zone
from sim.population import AGE_BANDS, COUNTRIES, TOPICS, Floats, Indices, Population, daily, draw_population, sigmoid

Document = dict[str, Any]

CHANNEL_COSTS = {"push": 0.03, "email": 0.02}
CONTENTS = {
    "news-digest": "news",
    "news-alert": "news",
    "sport-scores": "sport",
    "sport-interview": "sport",
    "music-release": "music",
    "music-playlist": "music",
    "food-recipe": "food",
    "food-offer": "food",
    "food-quiz": "food",
}
LOCAL_HOURS = (8, 12, 18, 21)
HORIZON_HOURS = 24.0
WINDOW_HOURS = 36.0
RESPONSE_HOURS = 6.0  # with the horizon 6 hours less than the window: feedback that is sent late still counts
CLICKED, UNSUBSCRIBED, VISITED = "clicked", "unsubscribed", "visited"
EVENT_WORTHS = {CLICKED: 1.0, UNSUBSCRIBED: -5.0, VISITED: 0.3}

BASE = -2.9
OPT_OUT_BASE = -7.0
EMAIL_OPT_OUT = 0.7
VISIT_BASE = -2.5
MOMENT = 0.3
HOUR = timedelta(hours=1)


def campaign_document(campaign_id: str) -> Document:
    """The campaign that a world's users are sent: 2 channels x 9 contents x 4 local hours and silence, 73 actions."""
    return {
        "id": campaign_id,
        "horizon_hours": HORIZON_HOURS,
        "channels": {channel: {"cost": cost} for channel, cost in CHANNEL_COSTS.items()},
        "contents": [{"id": content, "features": {"topic": topic}} for content, topic in CONTENTS.items()],
        "send_times": {"local_hours": list(LOCAL_HOURS), "allow_now": False},
        "reward": {"window_hours": WINDOW_HOURS, "bounds": [-5.0, 5.0], "events": EVENT_WORTHS},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that a user does after a decision."""

    name: str  # of the campaign's reward events
    occurred_at: datetime  # aware, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One user at one moment: an opportunity to decide."""

    user: int  # place in the population
    now: datetime  # aware, UTC


class World:
    """A population whose response to every action is known.

    Users are places 0..n-1. Nothing here changes: who has opted out is for the caller to remember.
    """

    def __init__(self, campaign_id: str, population: Population, *, quality: Floats, moment: Floats) -> None:
        """
        Args:
            quality: shape (contents,), log-odds.
            moment: shape (channels, 24), log-odds by the hour on the user's clock.
        """
        self.document = campaign_document(campaign_id)
        self.campaign: Campaign = parse_campaign(json.dumps(self.document))
        self.features, self.traits = population.features, population.traits
        self.quality, self.moment = quality, moment
        self._channels: dict[str | None, int] = {name: place for place, name in enumerate(self.campaign.channels)}
        self._contents: dict[str | None, int] = {name: place for place, name in enumerate(self.campaign.catalogue)}
        self._topics = np.array([TOPICS.index(topic) for topic in CONTENTS.values()])
        email = np.array([channel == "email" for channel in self._channels])
        self._opt_out = sigmoid(OPT_OUT_BASE + self.traits.annoyance[:, None] + EMAIL_OPT_OUT * email)
        self._visit = sigmoid(VISIT_BASE + self.traits.activity)
        outcomes, channels = (CLICKED, UNSUBSCRIBED, VISITED, None), self.campaign.channels
        self._worths = np.array([[self._worth(channel, event) for event in outcomes] for channel in channels])
        self._visit_worth, self._nothing_worth = self._worth(None, VISITED), self._worth(None, None)

    def __len__(self) -> int:
        return len(self.features.age)

    def user_document(self, user: int) -> Document:
        """What the service is told of a user, as on the wire."""
        seen = self.features
        return {
            "id": f"u-{user}",
            "timezone": str(seen.zone[user]),
            "features": {
                "country": COUNTRIES[seen.country[user]],
                "age_band": AGE_BANDS[seen.age[user]],
                "premium": bool(seen.premium[user]),
                "topics": [topic for topic, listed in zip(TOPICS, seen.topics[user], strict=True) if listed],
                "visits_per_week": round(float(seen.visits_per_week[user]), 1),
                "dismissed_share": round(float(seen.dismissed_share[user]), 2),
            },
        }

    def arrivals(self, *, start: datetime, per_day: float, rng: np.random.Generator) -> Iterator[Arrival]:
        """Users at random, at the moments of a Poisson process, without end."""
        now = start.astimezone(UTC)
        while True:
            now += timedelta(days=float(rng.exponential(1.0 / per_day)))
            yield Arrival(user=int(rng.integers(len(self))), now=now)

    def actions(self, user: int, now: datetime, channels: frozenset[str]) -> tuple[Action, ...]:
        """Silence, and every action of the campaign that this user can be reached by, channel-major."""
        times = candidate_times(
            now=now,
            zone=zone(str(self.features.zone[user])),
            local_hours=self.campaign.send_times.local_hours,
            allow_now=self.campaign.send_times.allow_now,
            horizon_hours=self.campaign.horizon_hours,
        )
        reachable = tuple(channel for channel in self.campaign.channels if channel in channels)
        return _actions(reachable, tuple(self.campaign.catalogue), times)

    def click_probability(self, users: Indices, channels: Indices, contents: Indices, hours: Indices) -> Floats:
        """Probability that a send is clicked; the four arrays of places broadcast together."""
        traits = self.traits
        return sigmoid(
            BASE
            + traits.activity[users]
            - traits.annoyance[users]
            + traits.leaning[users, channels]
            + traits.taste[users, self._topics[contents]]
            + self.quality[contents]
            + traits.rhythm[users, hours]
            + self.moment[channels, hours]
        )

    def send_values(self, users: Indices, channels: Indices, contents: Indices, hours: Indices) -> Floats:
        """Expected reward of sends, costs and opt-outs included; the four arrays of places broadcast together."""
        clicks = self.click_probability(users, channels, contents, hours)
        opt_outs, visits = self._opt_out[users, channels], self._visit[users]
        clicked, unsubscribed, visited, nothing = np.moveaxis(self._worths[channels], -1, 0)
        unmoved = visits * visited + (1 - visits) * nothing
        values: Floats = clicks * clicked + (1 - clicks) * (opt_outs * unsubscribed + (1 - opt_outs) * unmoved)
        return values

    def silence_values(self, users: Indices) -> Floats:
        """Expected reward of sending nothing."""
        visits = self._visit[users]
        return visits * self._visit_worth + (1 - visits) * self._nothing_worth

    def expected_reward(self, user: int, action: Action) -> float:
        """True mean reward of one action, exact."""
        return float(self.expected_rewards(user, [action])[0])

    def expected_rewards(self, user: int, actions: Sequence[Action]) -> Floats:
        """True mean reward of each action, shape (n_actions,), exact.

        Raises:
            ImpossibleInput: an action of a channel or content that the campaign does not have.
        """
        values = np.full(len(actions), float(self.silence_values(np.array(user))))
        sends = [place for place, action in enumerate(actions) if action.send]
        if sends:
            places = self._places(user, [actions[place] for place in sends])
            values[sends] = self.send_values(np.array(user), *places)
        return values

    def best(self, user: int, actions: Sequence[Action]) -> Action:
        """The action of the highest expected reward: the myopic oracle's choice."""
        return actions[int(np.argmax(self.expected_rewards(user, actions)))]

    def uniform_value(self, user: int, actions: Sequence[Action]) -> float:
        """Expected reward of drawing uniformly from the actions."""
        return float(np.mean(self.expected_rewards(user, actions)))

    def respond(self, user: int, action: Action, *, decided_at: datetime, rng: np.random.Generator) -> list[Event]:
        """What the user does, drawn from the truth: one event or none.

        Takes the same count of random numbers whatever the action, so that two policies with the same seed and the
        same opportunities meet the same luck.
        """
        luck, delay = rng.random(3), float(rng.random())
        if action.send_at is not None:
            channel, content, hour = self._places(user, [action])
            clicks = self.click_probability(np.array(user), channel, content, hour)
            responded_at = action.send_at + _response_hours(delay) * HOUR
            if luck[0] < clicks:
                return [Event(name=CLICKED, occurred_at=responded_at)]
            if luck[1] < self._opt_out[user, channel]:
                return [Event(name=UNSUBSCRIBED, occurred_at=responded_at)]
        if luck[2] < self._visit[user]:
            return [Event(name=VISITED, occurred_at=decided_at + delay * self.campaign.horizon_hours * HOUR)]
        return []

    def reward(self, channel: str | None, events: Sequence[Event]) -> float:
        """The reward after these events by the campaign's own rule; `channel` None is silence."""
        seen = [SeenEvent(event=event.name, value=None, occurred_at=event.occurred_at) for event in events]
        return reward_of(self.campaign, channel, seen)

    def _worth(self, channel: str | None, event: str | None) -> float:
        return self.reward(channel, [] if event is None else [Event(name=event, occurred_at=datetime.min)])

    def _places(self, user: int, sends: Sequence[Action]) -> tuple[Indices, Indices, Indices]:
        """Places of the sends' channels and contents, and the hours on the user's clock."""
        home = zone(str(self.features.zone[user]))
        instants = {send.send_at for send in sends if send.send_at is not None}
        hours: dict[datetime | None, int] = {instant: instant.astimezone(home).hour for instant in instants}
        try:
            places = [(self._channels[one.channel], self._contents[one.content], hours[one.send_at]) for one in sends]
        except KeyError as error:
            message = f"{error}: no action of campaign {self.campaign.id!r} has it"
            raise ImpossibleInput([FieldError(field="action", message=message)]) from None
        channels, contents, local_hours = np.array(places).T
        return channels, contents, local_hours


@lru_cache(maxsize=4_096)  # users of one zone share their send times for hours
def _actions(channels: tuple[str, ...], contents: tuple[str, ...], times: tuple[SendTime, ...]) -> tuple[Action, ...]:
    sends = (
        Action(channel=channel, content=content, send_at=time.send_at)
        for channel in channels
        for content in contents
        for time in times
    )
    return (SILENCE, *sends)


def _response_hours(luck: float) -> float:
    """Inverse CDF of an exponential delay with a mean of an hour, given that it is under RESPONSE_HOURS."""
    return float(-np.log1p(-luck * -np.expm1(-RESPONSE_HOURS)))


def build_world(*, seed: int, n_users: int = 3_000, campaign_id: str = "demo") -> World:
    """A world of its own response surface: the seed draws the tables and the population."""
    rng = np.random.default_rng(seed)
    return World(
        campaign_id,
        draw_population(n_users, rng),
        quality=rng.normal(scale=0.3, size=len(CONTENTS)),
        moment=MOMENT * daily(rng.uniform(0.0, 24.0, size=len(CHANNEL_COSTS))),
    )
