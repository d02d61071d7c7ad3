"""Each preset reproduces the published figures that it is named after."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import sqrt

import numpy as np
import pytest

from benchmarks.published_table import RANDOM, RECENCY, REUSE_LAST, TEMPLATE, published_table
from sim.common.arrays import Floats, Ints
from sim.world.daily import Day, Step, Table, live
from sim.world.presets import DUOLINGO, ECOMMERCE_EMAIL, HABIT_PUSH, PRESETS, THOUSAND
from sim.world.state import Bools
from sim.world.truth import Paced, long_run
from sim.world.world import World, build_world

SIGMAS = 4.5  # a true mean lies further off once in 150,000
Choose = Callable[[Day, np.random.Generator], Ints]


def close(counted: float, n: float, rate: float) -> bool:
    """Whether so many of n can be at that rate."""
    return abs(counted / n - rate) < SIGMAS * sqrt(rate * (1 - rate) / n)


@dataclass(kw_only=True)
class Trial:
    """Users treated by the rule of a randomised trial."""

    rule: Choose
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def choose(self, day: Day) -> Ints:
        places = self.rule(day, self.rng)
        return np.where(day.eligible_at(places), places, 0)

    def learn(self, _day: Day, _chosen: Ints, _rewards: Floats) -> None:
        """A trial does not look."""


def mean_click(world: World) -> float:
    """Over rested users, all sends and all weekdays."""
    table, state, users = Table.of(world), world.new_state(), np.arange(len(world))[:, None]
    return float(
        np.mean(
            [
                Day(world, table, state, day).chances(users, np.arange(1, len(table))[None, :]).click.mean()
                for day in range(7)
            ]
        )
    )


@pytest.mark.parametrize("name", ["demo", "small_team", "sparse", "segments", "threshold", "long_lived"])
def test_the_mean_response_is_the_presets(name: str) -> None:
    """Within what nine contents' effects of 0.3 leave open."""
    preset = PRESETS[name]
    rates = [mean_click(build_world(seed=seed, preset=preset, n_users=500)) for seed in range(4)]
    assert np.mean(rates) == pytest.approx(preset.response_rate, rel=SIGMAS * 0.3 / sqrt(4 * 9))


def test_a_librarys_mean_response_is_the_presets() -> None:
    """Within what the 200 users leave open over whom it is levelled; their rates vary about as much as their mean."""
    rates = [mean_click(build_world(seed=seed, preset=THOUSAND, n_users=300)) for seed in range(4)]
    assert np.mean(rates) == pytest.approx(THOUSAND.response_rate, rel=SIGMAS / sqrt(4 * 200))


def test_where_fatigue_is_strong_a_send_every_third_day_earns_more_than_the_best_of_every_day() -> None:
    """And in habit_push less: there it is worth while to send at every occasion that pays today."""
    ahead = {}
    for name in ("habit_push", "strong_fatigue"):
        world = build_world(seed=1, preset=PRESETS[name], n_users=600)
        myopic, paced = (long_run(world, Paced(np.array(gap)), days=60, seeds=[1]) for gap in (0.0, 3.0))
        ahead[name] = paced.ahead_of(myopic, "rewards")
    assert ahead["habit_push"].upper < 0.0 < ahead["strong_fatigue"].lower


def test_sparse_responses_are_one_in_two_hundred() -> None:
    assert PRESETS["sparse"].response_rate == 0.005
    assert PRESETS["small_team"].per_day == 300


def test_long_lived_users_are_decided_about_two_hundred_times_each() -> None:
    assert PRESETS["long_lived"].decisions / PRESETS["long_lived"].users == 200


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_campaign_that_the_service_takes(name: str) -> None:
    world = build_world(seed=1, preset=PRESETS[name], n_users=20)
    reward = world.campaign.reward
    assert reward.window_hours >= world.preset.horizon_hours + world.preset.reporting.response_hours
    assert world.worths.min() >= reward.bounds[0]
    assert world.worths.max() <= reward.bounds[1]


@pytest.mark.parametrize("name", ["demo", "small_team", "ecommerce_email"])
def test_opt_outs_are_as_rare_as_in_the_field(name: str) -> None:
    """0.1 to 0.3 % of the e-mails to rested users."""
    world = build_world(seed=1, preset=PRESETS[name], n_users=4_000)
    channel = world.channels.index("email")
    users, first = np.arange(4_000), np.array(0)
    hours = np.array(world.preset.local_hours[0])
    chances = world.chances(users, np.array(channel), first, hours, first, day=0.0, state=world.new_state())
    assert 0.001 <= (chances.opt_out * (1 - chances.click)).mean() <= 0.003


def hillstrom_visits(day: Day, rng: np.random.Generator) -> Ints:
    return rng.integers(3, size=len(day.users))


def test_ecommerce_email_has_hillstroms_visits() -> None:
    world = build_world(seed=1, preset=ECOMMERCE_EMAIL, n_users=64_000)
    trial = Trial(rule=hillstrom_visits)
    arms = hillstrom_visits(Day(world, Table.of(world), world.new_state(), 0), np.random.default_rng(1))
    (step,) = live(world, trial, days=14, seed=1)
    for arm, rate in enumerate((0.106167, 0.182757, 0.151400)):
        chosen = arms == arm
        assert close(float(step.visited[chosen].sum()), float(chosen.sum()), rate), arm


def drink_less(day: Day, rng: np.random.Generator) -> Ints:
    """Nothing with 0.4, the standard message with 0.3, one of the new ones with 0.3."""
    luck, new = rng.random(len(day.users)), 2 + rng.integers(3, size=len(day.users))
    return np.where(luck < 0.4, 0, np.where(luck < 0.7, 1, new))


def test_habit_push_habituates_as_in_drink_less() -> None:
    """Opened within the hour: .036 without a push, .13 with, .19 in week 1, .085 in week 4.

    Beside the sampling error of these users 5 %, by which the formula differs from the trial's four weeks.
    """
    world = build_world(seed=1, preset=HABIT_PUSH, n_users=6_000)
    steps = list(live(world, Trial(rule=drink_less), days=30, seed=1))
    silent = [~step.sent & ~step.opted_out for step in steps]
    assert close(visits(steps, silent), float(np.sum(silent)), 0.0363)
    sent = [step.sent for step in steps]
    for days, rate in [(slice(0, 7), 0.192), (slice(21, 28), 0.085), (slice(0, 30), 0.1264)]:
        n = np.sum(sent[days])
        assert visits(steps[days], sent[days]) / n == pytest.approx(rate, rel=0.05 + SIGMAS / sqrt(n * rate))


def visits(steps: list[Step], of: list[Bools]) -> float:
    return float(sum((step.visited & chosen).sum() for step, chosen in zip(steps, of, strict=True)))


def test_without_habituation_the_fourth_week_would_be_like_the_first() -> None:
    fresh = replace(HABIT_PUSH, pressure=replace(HABIT_PUSH.pressure, habituation=0.0, fatigue=0.0))
    steps = list(live(build_world(seed=1, preset=fresh, n_users=2_000), Trial(rule=drink_less), days=28, seed=1))
    week_1, week_4 = (
        visits(steps[days], [one.sent for one in steps[days]]) / sum(one.sent.sum() for one in steps[days])
        for days in (slice(0, 7), slice(21, 28))
    )
    assert week_4 > 0.9 * week_1


def test_duolingo_has_the_base_the_effects_and_the_recovery_of_the_paper() -> None:
    """Random .1295; templates differ by 1-2 %; reuse-last .1289, so -0.46 %; what is recovered is worth more.

    Here with the true effects as scores; `test_published_table` has the table with learned ones.
    """
    world = build_world(seed=2, preset=DUOLINGO, n_users=3_000)
    rested = Day(world, Table.of(world), world.new_state(), 0)
    scores = rested.values(rested.users)[:, 1:]
    by_template = np.where(np.isfinite(scores), scores, np.nan)
    effects = np.nanmean(by_template, axis=0) / np.nanmean(by_template) - 1
    assert 0.005 < effects.std() < 0.02
    table = published_table(world, from_day=15, days=20, seed=1, scores=effects)
    base = table[RANDOM]
    assert base == pytest.approx(0.1295, rel=0.01 + SIGMAS * 0.017 / sqrt(11))  # the templates' effects are drawn
    assert table[REUSE_LAST] / base - 1 == pytest.approx(-0.0046, abs=0.0015)
    assert 0.01 < table[TEMPLATE] / base - 1 < 0.025
    assert table[RECENCY] / base > table[TEMPLATE] / base + 0.0005
