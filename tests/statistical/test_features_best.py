"""The reference that knows what the features show: calibrated, and as far on the way as was measured elsewhere."""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from sim.contest.runs import Job, run_table
from sim.world import belief
from sim.world.belief import FromFeatures
from sim.world.population import Population
from sim.world.presets import DEMO, PRESETS, SMALL_TEAM
from sim.world.world import START, World, build_world

SIGMAS = 4.5  # a true mean lies further off once in 150,000


def test_on_average_over_users_it_believes_what_is_true() -> None:
    """Of each action: the mean over users of what is believed is the mean of the truth."""
    world = build_world(seed=5, preset=SMALL_TEAM, n_users=400)
    state, shown = world.new_state(), FromFeatures(world, seed=1, draws=50)
    for user in range(400):
        for content in range(user % 4):
            state.send(world.preset.pressure, np.array([user]), np.array([content]), 0.1 * content)
    offers = [world.offer(user, START, state) for user in range(400)]
    errors = np.array(
        [
            shown.expected_rewards(user, offer, START, state) - world.expected_rewards(user, offer, START, state)
            for user, offer in enumerate(offers)
        ]
    )
    assert errors.std(axis=0).min() > 0.0
    assert np.abs(errors.mean(axis=0) / (errors.std(axis=0) / sqrt(400))).max() < SIGMAS


def test_what_is_believed_of_activity_is_as_uncertain_as_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 2,000 users the truth lies above 16 % of the draws, half of them and 84 %, in as many cases."""
    assert spread_of_ranks() == pytest.approx([0.16, 0.5, 0.84], abs=SIGMAS * 0.5 / sqrt(2_000))
    monkeypatch.setattr(belief, "SHOWN_NOISE", 0.1)  # a twin that trusts the features too much
    assert spread_of_ranks() != pytest.approx([0.16, 0.5, 0.84], abs=SIGMAS * 0.5 / sqrt(2_000))


def spread_of_ranks() -> list[float]:
    world, draws = build_world(seed=5, n_users=2_000), 200
    believed = FromFeatures(world, seed=1, draws=draws)._possible.traits
    ranks = []
    for trait in ("activity", "annoyance"):
        below = getattr(believed, trait).reshape(2_000, draws) < getattr(world.traits, trait)[:, None]
        ranks.append(below.mean(axis=1))
    return [float(np.mean(np.concatenate(ranks) < share)) for share in (0.16, 0.5, 0.84)]


def test_where_nothing_is_hidden_it_knows_the_truth() -> None:
    world = build_world(seed=5, preset=PRESETS["segments"], n_users=30)
    state, shown = world.new_state(), FromFeatures(world, seed=1, draws=3)
    for user in range(30):
        offer = world.offer(user, START, state)
        assert shown.expected_rewards(user, offer, START, state) == pytest.approx(
            world.expected_rewards(user, offer, START, state), abs=1e-12
        )


def test_it_does_not_see_what_is_hidden() -> None:
    """Two users with the same features are one to it, however different they are."""
    world = build_world(seed=5, preset=replace(DEMO, name="twins"), n_users=50)
    twins = world_of_twins(world)
    state = twins.new_state()
    shown = FromFeatures(twins, seed=1, draws=2_000)
    offer = twins.offer(0, START, state)
    believed = [shown.expected_rewards(user, offer, START, state) for user in (0, 1)]
    true = [twins.expected_rewards(user, offer, START, state) for user in (0, 1)]
    assert np.abs(true[0] - true[1]).max() > 0.1
    assert np.abs(believed[0] - believed[1]).max() < 0.03


def world_of_twins(world: World) -> World:
    """Users 0 and 1 have the features of user 0, and the first is much more active than they show, the second less."""
    rows = np.array([0, 0])
    features, shown = belief.rows_of(world.features, rows), belief.rows_of(world.surfaces[0].tastes.shown, rows)
    traits = replace(belief.rows_of(world.traits, rows), activity=world.traits.activity[0] + np.array([1.5, -1.5]))
    own = world.surfaces[0].tastes
    tastes = replace(
        own,
        leaning=own.leaning[rows],
        taste=own.taste[rows],
        rhythm=own.rhythm[rows],
        liking=own.liking[rows],
        shown=shown,
    )
    surface = replace(world.surfaces[0], traits=traits, tastes=tastes, ages=features.age)
    return world.with_users(Population(features=features, traits=traits), [surface])


@pytest.mark.parametrize(
    ("preset", "share", "decisions", "seeds"),
    [
        ("demo", 0.914, 1_500, (1, 2, 3)),
        ("sparse", 0.894, 1_500, (1, 2, 3)),
        ("drift", 0.935, 1_500, (1, 2, 3)),
        ("habit_push", 0.802, 20_940, (1,)),  # to the end: what it leaves out is what sends do over weeks
    ],
)
def test_it_goes_as_far_as_was_measured_elsewhere(
    preset: str, share: float, decisions: int, seeds: Sequence[int]
) -> None:
    """Means of seeds 1-3 over whole runs. Seeds differ by .02, shorter runs from whole ones by .02."""
    job = Job(preset=preset, policy="features_best", seed=1, decisions=decisions)
    ends = [run_table(replace(job, seed=seed)).to_pandas().iloc[-1] for seed in seeds]
    shares = [(end.expected - end.uniform) / (end.oracle - end.uniform) for end in ends]
    assert np.mean(shares) == pytest.approx(share, abs=0.03)
