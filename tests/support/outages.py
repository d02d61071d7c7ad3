"""Feedback that goes missing, comes late or comes twice, between a simulated world and whatever decides in it.

    player = Interrupted(InMemory(...), OUTAGES["half_lost"], begin=START + timedelta(days=20))
    live(world, player, decisions=9_000, seed=1)

plays any outage against any learner: `InMemory` for `memory:NAME`, `InProcess` for the real service. The users do what
they do all the same; only the reports of it change. That nobody takes over is for the test to ask: `InMemory.restarts`,
or the changes of cause "fall" in the store.
"""

import heapq
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count, groupby, islice
from math import cos, pi

import numpy as np

from api.demo.run import BATCH, HOLDOUTS, PER_DAY
from bandit.campaign.checks import parse_campaign
from bandit.campaign.document import Campaign
from bandit.decide.exploration import draw_number
from bandit.times import DAY, HOUR, utc_text
from sim.contest.drive import Decides, Tally, drive
from sim.world.world import CLICKED, START, Arrival, Document, World, day_of

SEASON_DAYS = 28.0
SEASON_LOSS = 0.6  # share of the reports that are missing at the height of the season
FOUND_AFTER_DAYS = 30  # after which `sendopt serve` finds the demo's database, for all that the clock knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One event that a user's application is about to report."""

    decision_id: str
    event: str
    channel: str | None  # of the message; None after silence
    days: float  # since the outage began


Outage = Callable[[Report], Sequence[float]]  # hours by which each report of the event is late; none: it is lost


def _by_chance(report: Report) -> float:
    """A number in [0, 1) of the event, the same in every run."""
    return draw_number(f"outage:{report.event}", report.decision_id)


def _season(report: Report) -> Sequence[float]:
    loss = SEASON_LOSS * (1 - cos(2 * pi * report.days / SEASON_DAYS)) / 2
    return () if _by_chance(report) < loss else (0.0,)


OUTAGES: Mapping[str, Outage] = {
    "none": lambda _report: (0.0,),
    "all_lost": lambda _report: (),
    "one_channel_lost": lambda report: () if report.channel == "push" else (0.0,),
    "one_event_lost": lambda report: () if report.event == CLICKED else (0.0,),
    "half_lost": lambda report: () if _by_chance(report) < 0.5 else (0.0,),
    "a_day_late": lambda _report: (24.0,),
    "twice": lambda _report: (0.0, 1.0),
    "a_season": _season,
}


@dataclass(slots=True, kw_only=True)
class Interrupted:
    """Passes decisions on, and feedback as far as the outage lets it through."""

    inner: Decides
    outage: Outage
    begin: datetime  # events before it are reported as usual
    reported: int = 0
    lost: int = 0  # events of which there was no report
    _channels: dict[str, str | None] = field(default_factory=dict)  # by decision id
    _held: list[tuple[datetime, int, Document]] = field(default_factory=list)  # heap: due, order, event
    _order: Iterator[int] = field(default_factory=count)

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        """One decision per request, after what is due by the first of them was reported."""
        self._report_due(datetime.fromisoformat(requests[0]["now"]))
        answers = self.inner.decide_batch(requests)
        self._channels.update((one["decision_id"], one["channel"]) for one in answers)
        return answers

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        """Takes the events; what the inner one says of them is not known before they are reported."""
        for event in events:
            self._hold(event)
        return [{"status": "accepted"} for _ in events]

    def _hold(self, event: Document) -> None:
        occurred_at = datetime.fromisoformat(event["occurred_at"])
        report = Report(
            decision_id=event["decision_id"],
            event=event["event"],
            channel=self._channels[event["decision_id"]],
            days=(occurred_at - self.begin) / DAY,
        )
        delays = self.outage(report) if report.days >= 0 else (0.0,)
        self.lost += not delays
        for copy, hours in enumerate(delays):
            # A repeat is not the same to the last second, or the service would know it by that alone.
            again = {**event, "occurred_at": utc_text(occurred_at + copy * timedelta(seconds=1))}
            heapq.heappush(self._held, (occurred_at + hours * HOUR, next(self._order), again))

    def _report_due(self, now: datetime) -> None:
        due = []
        while self._held and self._held[0][0] <= now:
            due.append(heapq.heappop(self._held)[2])
        self.reported += len(due)
        if due:
            self.inner.feedback_batch(due)


def keen_first(world: World, arrivals: Iterable[Arrival]) -> Iterator[Arrival]:
    """The same users at the same moments of each day, but the keenest of the day first."""
    for _, that_day in groupby(arrivals, key=lambda one: int(day_of(one.now))):
        today = list(that_day)
        keen = sorted(today, key=lambda one: -world.features.visits_per_week[one.user])
        for one, moment in zip(keen, today, strict=True):
            yield Arrival(user=one.user, now=moment.now)


def live(world: World, player: Decides, *, decisions: int, seed: int, keen: bool = False, batch: int = 50) -> Tally:
    """What a whole run of the world came to.

    Args:
        keen: whether each day's keenest users come first.
    """
    arrivals = islice(
        world.arrivals(start=START, per_day=world.preset.per_day, rng=np.random.default_rng([seed, 1])), decisions
    )
    users = keen_first(world, arrivals) if keen else arrivals
    *_, last = drive(world, player, users, batch_size=batch, rng=np.random.default_rng([seed, 2]))
    return last.total


def demo_campaign(world: World) -> Campaign:
    """The campaign of `sendopt demo`, with its holdouts."""
    return parse_campaign(json.dumps({**world.document, "policy": HOLDOUTS}))


def live_the_demo(world: World, player: Decides, *, decisions: int, seed: int) -> datetime:
    """Plays what `sendopt demo` plays, until its users stop; returns when a service that goes on finds its database.

    What the last day and a half would have answered is never reported: the users are gone. A pass of the learner at the
    moment returned learns from that as `make serve` after `make demo` does.
    """
    arrivals = islice(world.arrivals(start=START, per_day=PER_DAY, rng=np.random.default_rng([seed, 1])), decisions)
    *_, last = drive(world, player, arrivals, batch_size=BATCH, rng=np.random.default_rng([seed, 2]))
    return last.now + FOUND_AFTER_DAYS * DAY
