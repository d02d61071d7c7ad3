"""Whole populations by the day: the same truth as one user at a time, and what policies earn in the long run."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from math import sqrt

import numpy as np
import pytest

from sim.common.arrays import Floats, Ints
from sim.world.daily import Day, Step, Table, live
from sim.world.laws import Change, ContentLaw, Hazards
from sim.world.presets import DEMO, ECOMMERCE_EMAIL, HABIT_PUSH, SMALL_TEAM
from sim.world.truth import (
    MYOPIC,
    NEVER,
    Constant,
    LongRun,
    Paced,
    best_capped,
    best_fixed,
    far_sighted,
    is_time,
    long_run,
)
from sim.world.world import START, World, build_world

SIGMAS = 4.5
TOUCHY = replace(
    SMALL_TEAM,
    hazards=Hazards(opt_out={"push": 0.1, "email": 0.1}, mute={"push": 0.1}, pressure=0.5),
    change=Change(newcomers=0.3, joining_days=10.0),
    contents=(*SMALL_TEAM.contents[:-1], ContentLaw(id="food-quiz", topic="food", awake=0.5)),
)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(seed=1, preset=TOUCHY, n_users=800)


class Evenly:
    """Draws evenly from the eligible actions, and keeps what it saw and was told."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)
        self.days: list[tuple[Day, Ints, Floats]] = []

    def choose(self, day: Day) -> Ints:
        eligible = day.eligible(day.users)
        chosen: Ints = np.where(eligible, self.rng.random(eligible.shape), -1.0).argmax(axis=1)
        return chosen

    def learn(self, day: Day, chosen: Ints, rewards: Floats) -> None:
        self.days.append((day, chosen, rewards))


def test_values_by_the_day_are_those_of_one_user_at_a_time(world: World) -> None:
    evenly = Evenly()
    for _ in live(world, evenly, days=4, seed=1):
        pass
    day = Day(world, Table.of(world), evenly.days[-1][0].state, 4)
    values = day.values(day.users)
    for user in np.flatnonzero(day.there)[:30]:
        offer = world.offer(int(user), START, day.state)  # a Monday: from here on as many days later
        own = world.chances(
            np.array(user), offer.channels, offer.contents, offer.hours, np.array(4), day=4, state=day.state
        )
        sends = world.send_values(own, offer.channels)
        places = 1 + (offer.channels * 9 + offer.contents) * 4 + np.searchsorted([8, 12, 18, 21], offer.hours)
        awake = np.isfinite(values[user, places])
        assert values[user, places][awake] == pytest.approx(sends[awake], abs=1e-12)
        assert np.isfinite(values[user]).sum() == day.eligible(np.array([user])).sum()


def test_what_happens_follows_the_expected_rewards(world: World) -> None:
    steps = list(live(world, Evenly(), days=12, seed=1))
    rewards, expected = (np.concatenate([getattr(step, name) for step in steps]) for name in ("rewards", "expected"))
    assert abs(rewards.mean() - expected.mean()) < SIGMAS * rewards.std() / sqrt(rewards.size)
    assert sum(step.opted_out.sum() for step in steps) > 100


def test_who_left_or_has_not_come_is_sent_nothing(world: World) -> None:
    evenly = Evenly()
    gone: Ints = np.zeros((len(world), 2), dtype=np.bool_)
    for step in live(world, evenly, days=12, seed=1):
        day, chosen, _ = evenly.days[-1]
        sent_on = day.table.channels[chosen - 1]
        assert not gone[step.sent, sent_on[step.sent]].any()
        assert (world.joined[step.sent] <= day.number).all()
        gone[step.opted_out, sent_on[step.opted_out]] = True
    assert gone.any()


def test_the_same_seed_is_the_same_luck_whatever_is_chosen() -> None:
    world = build_world(seed=1, n_users=500)
    silent, sending = ([*live(world, policy, days=3, seed=5)] for policy in (Paced(np.array(NEVER)), Constant(1, 0.0)))
    for one, other in zip(silent, sending, strict=True):
        unmoved = ~other.opted_out
        assert (other.visited | ~one.visited)[unmoved].all()  # who came by themselves comes after a send as well


def test_a_world_whose_organic_visits_take_two_weeks_is_stepped_by_two_weeks() -> None:
    world = build_world(seed=1, preset=ECOMMERCE_EMAIL, n_users=50)
    assert len(list(live(world, MYOPIC, days=42, seed=1))) == 3
    assert long_run(world, MYOPIC, days=42, seeds=[1]).weeks == pytest.approx(6.0)


@pytest.fixture(scope="module")
def habit() -> World:
    return build_world(seed=1, preset=HABIT_PUSH)


def ran(world: World, policy: Constant | Paced, seeds: range = range(3)) -> LongRun:
    return long_run(world, policy, days=60, seeds=seeds)


def test_the_myopic_oracle_earns_most_at_once_and_the_far_sighted_in_the_long_run(habit: World) -> None:
    first: Iterator[Step] = live(habit, MYOPIC, days=1, seed=1)
    day = Day(habit, Table.of(habit), habit.new_state(), 0)
    assert next(first).expected == pytest.approx(day.values(day.users).max(axis=1))
    searched = (find(habit, days=60, seed=1) for find in (far_sighted, best_capped, best_fixed))
    far, capped, fixed = (ran(habit, policy) for policy in searched)
    myopic = ran(habit, MYOPIC)
    assert far.ahead_of(myopic, "rewards").lower > 0
    assert capped.ahead_of(fixed, "rewards").lower > 0
    assert far.ahead_of(capped, "rewards").lower > 0
    assert far.per_week("sends").value < 0.9 * myopic.per_week("sends").value
    assert far.per_week("opt_outs").value < myopic.per_week("opt_outs").value


def test_in_a_world_without_pressure_the_two_are_the_same() -> None:
    world = build_world(seed=1, n_users=150, preset=replace(DEMO, hazards=Hazards()))
    assert (far_sighted(world, days=10, seed=1).gaps_days == 0).all()


def test_common_luck_makes_differences_sharper(habit: World) -> None:
    """The red twin: with luck of its own the same policy seems to differ from itself."""
    one, same, other = (ran(habit, Constant(1, 2.0), seeds) for seeds in (range(3), range(3), range(7, 10)))
    assert one.ahead_of(same, "visits").value == 0.0
    assert one.ahead_of(other, "visits").value != 0.0
    daily = ran(habit, Constant(1, 0.0))
    paired, apart = daily.ahead_of(one, "visits"), daily.ahead_of(other, "visits")
    assert paired.upper - paired.lower < 0.8 * (apart.upper - apart.lower)


def test_a_gap_is_kept(habit: World) -> None:
    policy = Constant(1, 3.0)
    sent = np.array([step.sent for step in live(habit, policy, days=9, seed=1)])
    assert sent[[0, 3, 6]].mean() > 0.9
    assert not sent[[1, 2, 4, 5, 7, 8]].any()
    assert not is_time(np.inf, NEVER)
    assert is_time(np.inf, 28.0)


def test_a_day_tells_what_a_policy_may_know() -> None:
    world = build_world(seed=1, n_users=20)
    day = Day(world, Table.of(world), world.new_state(), 8)
    assert day.weekday == (START + timedelta(days=8)).weekday()
    assert np.isinf(day.days_since).all()
    day.state.send(world.preset.pressure, np.array([3]), np.array([2]), 6.0)
    assert day.days_since[3, 2] == day.days_since_any[3] == 2.0
