"""The driver of outages: reports go missing as asked, users do not notice, and the demo ends as it does for everybody.

What a learner makes of them is for its own tests; the last test here says what the learner `lines` makes of the demo.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pytest

from bandit.engine.load import learner_of
from sim.contest.drive import Tally
from sim.contest.in_memory import InMemory
from sim.world.world import START, Document, World, build_world
from tests.support.outages import OUTAGES, Interrupted, demo_campaign, keen_first, live, live_the_demo

BEGIN = START + timedelta(days=3)


@dataclass(kw_only=True)
class Listening:
    """Goes through all actions in turn; keeps what it is told, and by which batch."""

    world: World
    told: list[tuple[datetime, Document]] = field(default_factory=list)
    channels: dict[str, str | None] = field(default_factory=dict)
    new: list[Document] = field(default_factory=list)  # told since the last batch

    def decide_batch(self, requests: Sequence[Document]) -> list[Document]:
        now = datetime.fromisoformat(requests[0]["now"])
        self.told += [(now, event) for event in self.new]
        self.new = []
        return [self._answer(request) for request in requests]

    def feedback_batch(self, events: Sequence[Document]) -> list[Document]:
        self.new += events
        return [{"status": "accepted"} for _ in events]

    def _answer(self, request: Document) -> Document:
        user, now = int(request["user"]["id"].removeprefix("u-")), datetime.fromisoformat(request["now"])
        state = self.world.new_state()
        state.left[user] = [channel not in request["user"]["channels"] for channel in self.world.channels]
        offer = self.world.offer(user, now, state)
        action = offer.actions[len(self.channels) % len(offer.actions)]
        decision_id = f"d-{len(self.channels)}"
        self.channels[decision_id] = action.channel
        return {
            "decision_id": decision_id,
            "channel": action.channel,
            "content": action.content,
            "send_at": None if action.send_at is None else action.send_at.isoformat(),
            "model_version": 0,
        }


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(seed=3, n_users=300)


def heard(world: World, outage: str) -> tuple[Listening, Interrupted, Tally]:
    listening = Listening(world=world)
    player = Interrupted(inner=listening, outage=OUTAGES[outage], begin=BEGIN)
    return listening, player, live(world, player, decisions=2_500, seed=1)


def of_channels(listening: Listening) -> Counter[str | None]:
    """Events reported that happened in the outage, by channel."""
    during = [event for _, event in listening.told if datetime.fromisoformat(event["occurred_at"]) >= BEGIN]
    return Counter(listening.channels[event["decision_id"]] for event in during)


def of_events(listening: Listening) -> Counter[str]:
    return Counter(
        event["event"] for _, event in listening.told if datetime.fromisoformat(event["occurred_at"]) >= BEGIN
    )


def test_users_do_the_same_whatever_is_reported(world: World) -> None:
    totals = [heard(world, outage)[2] for outage in ("none", "all_lost", "twice")]
    assert totals[0] == totals[1] == totals[2]
    assert totals[0].visits > 200


def test_without_an_outage_everything_is_reported_and_before_one_too(world: World) -> None:
    listening, player, _ = heard(world, "none")
    silent, gone, _ = heard(world, "all_lost")
    assert player.lost == 0
    assert player.reported == len(listening.told) > 200
    before = [one for one in listening.told if datetime.fromisoformat(one[1]["occurred_at"]) < BEGIN]
    assert [event for _, event in silent.told] == [event for _, event in before]
    assert gone.lost > 100


def test_one_channel_or_one_event_is_lost_and_the_others_are_not(world: World) -> None:
    usual, _, _ = heard(world, "none")
    channel, _, _ = heard(world, "one_channel_lost")
    assert of_channels(channel)["push"] == 0
    assert of_channels(channel)["email"] == of_channels(usual)["email"] > 50
    event, _, _ = heard(world, "one_event_lost")
    assert of_events(event)["clicked"] == 0
    assert of_events(event)["visited"] == of_events(usual)["visited"] > 50


def test_half_is_half(world: World) -> None:
    usual, _, _ = heard(world, "none")
    half, _, _ = heard(world, "half_lost")
    n = sum(of_events(usual).values())
    assert sum(of_events(half).values()) / n == pytest.approx(0.5, abs=4.5 * 0.5 / np.sqrt(n))


def test_a_season_comes_and_goes(world: World) -> None:
    """It has lost nothing at first, .6 after a fortnight; over the first week .06 of everything on average."""
    usual, _, _ = heard(world, "none")
    season, player, _ = heard(world, "a_season")
    n = sum(of_events(usual).values())
    assert 0 < player.lost < 0.2 * n
    assert sum(of_events(season).values()) + player.lost == pytest.approx(n, abs=60)  # the last day's are still to come


def test_late_is_a_day_late_and_twice_is_twice(world: World) -> None:
    late, _, _ = heard(world, "a_day_late")
    delays = [
        at - datetime.fromisoformat(event["occurred_at"])
        for at, event in late.told
        if datetime.fromisoformat(event["occurred_at"]) >= BEGIN
    ]
    assert min(delays) >= timedelta(hours=24)
    assert max(delays) < timedelta(hours=31)  # the longest that a batch and the one before it span
    twice, _, _ = heard(world, "twice")
    during = Counter(
        (event["decision_id"], event["event"])
        for _, event in twice.told
        if BEGIN <= datetime.fromisoformat(event["occurred_at"]) < START + timedelta(days=7)
    )
    assert set(during.values()) == {2}


def test_the_keenest_of_each_day_come_first(world: World) -> None:
    usual = [one for one, _ in zip(world.arrivals(start=START, per_day=200.0, rng=rng()), range(1_000), strict=False)]
    keen = list(keen_first(world, usual))
    assert [one.now for one in keen] == [one.now for one in usual]
    assert sorted(one.user for one in keen) == sorted(one.user for one in usual)
    visits = [world.features.visits_per_week[one.user] for one in keen if one.now < START + timedelta(days=1)]
    assert visits == sorted(visits, reverse=True)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_at_the_end_of_the_demo_the_learner_of_lines_starts_from_nothing() -> None:
    """The users stop, the open rewards close without their answers, and what was learned is taken for wrong."""
    world = build_world(seed=3, campaign_id="demo")
    campaign = demo_campaign(world)
    with learner_of(campaign.engine_arguments) as learner:
        player = InMemory(campaign, learner, entropy=np.random.default_rng([3, 1]).bytes, learn_every=300)
        found_at = live_the_demo(world, player, decisions=4_000, seed=3)
        experience, restarts = learner.experience(), player.restarts
        player.learn(found_at)
        assert (restarts, player.restarts) == (0, 1)
        assert learner.experience() < 0.1 * experience
