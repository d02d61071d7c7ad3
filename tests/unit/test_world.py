"""The simulated world: its truth is exact, and what users do follows it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import cos, exp, pi, sqrt

import numpy as np
import pytest

from bandit.domain import SILENCE, Action
from bandit.errors import ImpossibleInput
from bandit.store.engine import Store
from sim import world as worlds
from sim.population import COUNTRIES, ZONES, daily
from sim.world import CLICKED, UNSUBSCRIBED, VISITED, World, build_world
from tests.support import builders

MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)
BOTH = frozenset({"push", "email"})
SIGMAS = 4.5  # a true mean lies further off once in 150,000


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(seed=7, n_users=500)


@pytest.fixture
def touchy(monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in which four messages of ten that are not clicked make the user opt out."""
    monkeypatch.setattr(worlds, "OPT_OUT_BASE", -0.5)
    return build_world(seed=7, n_users=200)


def user_in(world: World, zone_name: str) -> int:
    return int(np.flatnonzero(world.features.zone == zone_name)[0])


def some_actions(world: World, user: int) -> list[Action]:
    actions = world.actions(user, MONDAY, BOTH)
    return [actions[0], actions[1], actions[40], world.best(user, actions)]


def test_a_user_has_the_seventy_three_actions_that_the_service_offers(world: World, sqlite_store: Store) -> None:
    running = builders.service(sqlite_store, 0, world.campaign)
    clocks_change = datetime(2026, 3, 8, 3, 30, tzinfo=UTC)
    for user, now in [(0, MONDAY), (user_in(world, "America/New_York"), clocks_change)]:
        zone_name = str(world.features.zone[user])
        (record,) = builders.decide(running, [builders.request(now=now, campaign="demo", timezone=zone_name)])
        actions = world.actions(user, now, BOTH)
        assert set(actions) == {record.eligible.action(place) for place in range(len(record.eligible))}
        assert len(actions) == len(record.eligible) == 73


def test_a_channel_that_a_user_has_left_is_not_among_the_actions(world: World) -> None:
    actions = world.actions(0, MONDAY, frozenset({"email"}))
    assert len(actions) == 37
    assert {action.channel for action in actions} == {None, "email"}
    assert world.actions(0, MONDAY, frozenset()) == (SILENCE,)


def test_the_expected_reward_of_a_send_is_the_formula(world: World) -> None:
    user = user_in(world, "America/New_York")
    action = Action(channel="email", content="music-release", send_at=datetime(2026, 1, 6, 17, tzinfo=UTC))
    traits, hour = world.traits, 12  # 17:00 UTC in New York, in winter
    log_odds = (
        worlds.BASE
        + traits.activity[user]
        - traits.annoyance[user]
        + traits.leaning[user, 1]
        + traits.taste[user, 2]
        + traits.rhythm[user, hour]
        + world.quality[4]
        + world.moment[1, hour]
    )
    click = 1 / (1 + exp(-log_odds))
    opt_out = 1 / (1 + exp(7.0 - 0.7 - traits.annoyance[user]))
    visit = 1 / (1 + exp(2.5 - traits.activity[user]))
    kept = visit * (0.3 - 0.02) + (1 - visit) * -0.02
    expected = click * (1 - 0.02) + (1 - click) * (opt_out * -5.0 + (1 - opt_out) * kept)
    assert world.expected_reward(user, action) == pytest.approx(expected, abs=1e-12)


def test_silence_earns_the_organic_visit_and_costs_nothing(world: World) -> None:
    visit = 1 / (1 + exp(2.5 - world.traits.activity[3]))
    assert world.expected_reward(3, SILENCE) == pytest.approx(0.3 * visit, abs=1e-12)


def test_the_hour_is_read_on_the_users_own_clock(world: World) -> None:
    user = user_in(world, "Asia/Kolkata")
    evening = Action(channel="push", content="food-quiz", send_at=datetime(2026, 1, 5, 15, 30, tzinfo=UTC))
    places = np.array([user]), np.array([0]), np.array([8]), np.array([21])  # 15:30 UTC is 21:00 in India
    assert world.expected_reward(user, evening) == world.send_values(*places)[0]


def test_a_rhythm_is_highest_at_its_peak_hour() -> None:
    wave = daily(np.array([18.0]))
    assert wave.argmax() == 18
    assert wave[0, 6] == pytest.approx(-1.0)
    assert wave[0, 20] == pytest.approx(cos(2 * pi * 2 / 24))


@pytest.mark.parametrize("name", ["world", "touchy"])
def test_the_expected_reward_is_the_mean_of_what_users_do(name: str, request: pytest.FixtureRequest) -> None:
    world: World = request.getfixturevalue(name)
    rng, n = np.random.default_rng(1), 3_000
    for action in some_actions(world, 11):
        rewards = np.array(
            [world.reward(action.channel, world.respond(11, action, decided_at=MONDAY, rng=rng)) for _ in range(n)]
        )
        tolerance = SIGMAS * rewards.std() / sqrt(n) + 1e-12
        assert abs(rewards.mean() - world.expected_reward(11, action)) < tolerance


def test_an_opt_out_that_the_formula_forgets_would_be_noticed(touchy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    action = touchy.actions(11, MONDAY, BOTH)[1]
    with_opt_outs = touchy.expected_reward(11, action)
    monkeypatch.setattr(touchy, "_opt_out", np.zeros_like(touchy._opt_out))
    assert touchy.expected_reward(11, action) - with_opt_outs > 1.0


def responses(world: World) -> Iterator[tuple[Action, worlds.Event]]:
    rng = np.random.default_rng(2)
    for user in range(len(world)):
        action = world.best(user, world.actions(user, MONDAY, BOTH))
        for event in world.respond(user, action, decided_at=MONDAY, rng=rng):
            yield action, event


def test_a_response_comes_after_its_send_and_hours_before_the_window_ends(touchy: World) -> None:
    seen = set()
    for action, event in responses(touchy):
        seen.add(event.name)
        assert MONDAY < event.occurred_at <= MONDAY + timedelta(hours=30)
        if event.name != VISITED:
            assert action.send_at is not None
            assert timedelta(0) < event.occurred_at - action.send_at <= timedelta(hours=6)
    assert seen == {CLICKED, UNSUBSCRIBED, VISITED}
    assert touchy.campaign.reward.window_hours == 36


def test_whatever_is_sent_takes_the_same_count_of_random_numbers(world: World) -> None:
    after = []
    for action in some_actions(world, 5):
        rng = np.random.default_rng(3)
        world.respond(5, action, decided_at=MONDAY, rng=rng)
        after.append(rng.random())
    assert len(set(after)) == 1


def test_the_oracle_is_best_and_uniform_choice_the_mean(world: World) -> None:
    for user in range(20):
        actions = world.actions(user, MONDAY, BOTH)
        values = [world.expected_reward(user, action) for action in actions]
        assert world.expected_reward(user, world.best(user, actions)) == max(values)
        assert world.uniform_value(user, actions) == pytest.approx(sum(values) / 73)
        assert list(world.expected_rewards(user, actions)) == pytest.approx(values, abs=1e-15)


def test_for_a_few_users_silence_is_best() -> None:
    world = build_world(seed=1, n_users=2_000)
    silent = sum(world.best(user, world.actions(user, MONDAY, BOTH)) == SILENCE for user in range(len(world)))
    assert 0.005 < silent / len(world) < 0.10


def test_features_show_only_a_part_of_the_traits(world: World) -> None:
    features, traits = world.features, world.traits
    for seen, trait in [
        (np.log(features.visits_per_week), traits.activity),
        (features.dismissed_share, traits.annoyance),
    ]:
        assert 0.7 < np.corrcoef(seen, trait)[0, 1] < 0.97
    alike = (features.country == 0) & (features.age == features.age[0]) & (features.topics[:, 0] == 1)
    assert traits.taste[alike, 0].std() > 0.1


def test_a_user_is_described_as_on_the_wire(world: World) -> None:
    document = world.user_document(4)
    assert document["id"] == "u-4"
    assert document["features"].keys() == {
        "country",
        "age_band",
        "premium",
        "topics",
        "visits_per_week",
        "dismissed_share",
    }


def test_users_live_in_every_zone_of_their_country(world: World) -> None:
    for place, country in enumerate(COUNTRIES):
        assert set(world.features.zone[world.features.country == place]) == set(ZONES[country])


def test_the_seed_decides_the_whole_world() -> None:
    one, same, other = (build_world(seed=seed, n_users=50) for seed in (1, 1, 2))
    actions = one.actions(0, MONDAY, BOTH)
    assert one.user_document(0) == same.user_document(0)
    assert list(one.expected_rewards(0, actions)) == list(same.expected_rewards(0, actions))
    assert list(one.quality) != list(other.quality)


def test_users_arrive_in_time_order_as_often_as_asked(world: World) -> None:
    arrivals = list(islice(world.arrivals(start=MONDAY, per_day=250.0, rng=np.random.default_rng(4)), 2_000))
    moments = [one.now for one in arrivals]
    assert moments == sorted(moments)
    days = (moments[-1] - MONDAY) / timedelta(days=1)
    assert abs(days - 8.0) < SIGMAS * 8.0 / sqrt(2_000)
    assert len({one.user for one in arrivals}) > 450


@pytest.mark.parametrize(
    "action",
    [
        Action(channel="sms", content="food-quiz", send_at=MONDAY),
        Action(channel="push", content="weather", send_at=MONDAY),
        Action(channel="push", content="food-quiz", send_at=None),
    ],
)
def test_an_action_that_the_campaign_does_not_have_is_refused(world: World, action: Action) -> None:
    with pytest.raises(ImpossibleInput, match="no action of campaign 'demo' has it"):
        world.expected_reward(0, action)
