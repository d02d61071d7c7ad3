"""Baselines and references in the place of the service, under the same rules and with the same rewards."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice

import numpy as np
import pytest

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import reward_of
from sim.baselines.protocol import Opportunity, Outcome
from sim.baselines.registry import BASELINES
from sim.contest.drive import Decides, Progress, drive
from sim.contest.player import Playing
from sim.contest.references import pacing, repeating
from sim.world.laws import Hazards, Reporting
from sim.world.presets import DEMO
from sim.world.state import State
from sim.world.truth import MYOPIC, Constant, Paced
from sim.world.world import START, World, build_world


class Noting:
    """Always the first send; keeps what it was asked and told."""

    def __init__(self, _campaign: Campaign | None = None) -> None:
        self.asked: list[Opportunity] = []
        self.told: list[list[Outcome]] = []
        self.asked_before: list[int] = []

    def choose(self, opportunity: Opportunity) -> int:
        self.asked.append(opportunity)
        return min(1, len(opportunity.eligible) - 1)

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        self.told.append(list(outcomes))
        self.asked_before.append(len(self.asked))


def run(world: World, player: Decides, n: int, state: State | None = None, per_day: float = 100.0) -> list[Progress]:
    arrivals = islice(world.arrivals(start=START, per_day=per_day, rng=np.random.default_rng(1)), n)
    return list(drive(world, player, arrivals, batch_size=20, rng=np.random.default_rng(2), state=state))


@pytest.fixture(scope="module")
def world() -> World:
    law = Reporting(duplicated=0.3)
    return build_world(seed=3, n_users=40, preset=replace(DEMO, reporting=law, hazards=Hazards(opt_out={"push": 0.05})))


@pytest.fixture(scope="module")
def noting(world: World) -> Noting:
    baseline = Noting()
    run(world, Playing(baseline, world.campaign, learn_every=50), 600)
    return baseline


def test_a_baseline_learns_each_decision_once_in_order_when_its_window_has_passed(noting: Noting) -> None:
    numbers = [one.opportunity.number for outcomes in noting.told for one in outcomes]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 300
    for outcomes, asked in zip(noting.told, noting.asked_before, strict=True):
        now = noting.asked[asked - 1].now
        assert all(one.opportunity.now + timedelta(hours=36) <= now for one in outcomes)
    assert noting.told[0] == []


def test_its_rewards_are_those_that_the_service_would_learn(world: World, noting: Noting) -> None:
    clicked, nothing = world.reward("push", []) + 1.0, reward_of(world.campaign, "push", [])
    rewards = {round(one.reward, 6) for outcomes in noting.told for one in outcomes}
    assert {round(clicked, 6), round(nothing, 6)} < rewards
    assert rewards <= {round(value, 6) for value in world.worths.ravel()}


def test_it_sees_the_history_that_its_own_sends_make(noting: Noting) -> None:
    seen = [one for one in noting.asked if one.history.sends]
    assert len(seen) > 300
    later = [one for one in seen if any(send.send_at > one.now for send in one.history.sends)]
    assert later  # reserved ones as well
    assert any(one.history.responses for one in noting.asked)
    reach = timedelta(days=30)
    assert all(send.send_at > one.now - reach for one in noting.asked for send in one.history.sends)


def test_it_is_not_offered_what_a_user_has_left(noting: Noting) -> None:
    sizes = {len(one.eligible) for one in noting.asked}
    assert sizes == {73, 37}


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_plays_and_repeats_itself(name: str) -> None:
    world = build_world(seed=3, n_users=40)
    totals = []
    for _ in range(2):
        baseline = BASELINES[name](world.campaign, np.random.default_rng(1))
        totals.append(run(world, Playing(baseline, world.campaign, learn_every=40), 250)[-1].total)
    assert totals[0] == totals[1]
    assert totals[0].decisions == 250


def test_the_oracle_is_the_whole_way_whatever_state_users_are_in() -> None:
    world = build_world(seed=3, n_users=20)
    state = world.new_state()
    assert run(world, pacing(world, state, MYOPIC), 200, state)[-1].total.share == pytest.approx(1.0)


def test_references_keep_their_gaps() -> None:
    world = build_world(seed=3, n_users=10)
    for gap, most in [(0.0, 200), (7.0, 40), (np.inf, 0)]:
        state = world.new_state()
        sends = run(world, pacing(world, state, Paced(np.array(gap))), 200, state, per_day=10.0)[-1].total.sends
        assert sends <= most
        assert (sends > 0) == (most > 0)


def test_a_fixed_reference_sends_one_thing_at_one_hour() -> None:
    world = build_world(seed=3, n_users=10)
    state = world.new_state()
    place = 1 + (1 * 9 + 4) * 4 + 2  # e-mail, music-release, 18 h
    progress = run(world, repeating(world, state, Constant(place, 0.0)), 100, state)
    for one in progress:
        assert (one.decision["channel"], one.decision["content"]) == ("email", "music-release")
    assert progress[-1].total.sends == 100
