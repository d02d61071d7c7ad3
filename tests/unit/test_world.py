"""The simulated world: its truth is exact, and what users do follows it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from math import cos, exp, pi, sqrt

import numpy as np
import pytest

from bandit.domain import Action
from bandit.store.sql.database import Store
from sim.world.laws import Change, ContentLaw, Hazards, Library, Pressure, Reporting, Spreads, Step
from sim.world.population import COUNTRIES, ZONES, daily, level, sigmoid
from sim.world.presets import DEMO, SEGMENTS, SMALL_TEAM, THOUSAND, THRESHOLD
from sim.world.world import CLICKED, MUTED, START, UNSUBSCRIBED, VISITED, Offer, World, build_world, day_of
from tests.support import builders

MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)
SIGMAS = 4.5  # a true mean lies further off once in 150,000
TOUCHY = replace(DEMO, hazards=Hazards(opt_out={"push": 0.4, "email": 0.5}, mute={"push": 0.3}))
RICH = replace(
    SMALL_TEAM,
    name="rich",
    change=Change(drift_days=40.0),
    pressure=Pressure(fatigue=0.4, habituation=1.5, habituation_sends=8.0, habituation_days=50.0, novelty=0.6),
)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(seed=7, n_users=500)


@pytest.fixture(scope="module")
def touchy() -> World:
    """A world in which four messages of ten that are not clicked make the user opt out."""
    return build_world(seed=7, n_users=200, preset=TOUCHY)


@pytest.fixture(scope="module")
def rich() -> World:
    """A world in which everything matters."""
    return build_world(seed=7, n_users=400, preset=RICH)


def user_in(world: World, zone_name: str) -> int:
    return int(np.flatnonzero(world.features.zone == zone_name)[0])


def offered(world: World, user: int, now: datetime = MONDAY) -> Offer:
    return world.offer(user, now, world.new_state())


def values(world: World, user: int, now: datetime = MONDAY) -> list[float]:
    state = world.new_state()
    return [float(value) for value in world.expected_rewards(user, world.offer(user, now, state), now, state)]


def some_places(world: World, user: int) -> list[int]:
    return [0, 1, 40, int(np.argmax(values(world, user)))]


def test_a_user_has_the_seventy_three_actions_that_the_service_offers(world: World, sqlite_store: Store) -> None:
    running = builders.service(sqlite_store, 0, world.campaign)
    clocks_change = datetime(2026, 3, 8, 3, 30, tzinfo=UTC)
    for user, now in [(0, MONDAY), (user_in(world, "America/New_York"), clocks_change)]:
        zone_name = str(world.features.zone[user])
        asked = builders.request(now=now, campaign="demo", timezone=zone_name, channels=world.channels)
        (record,) = builders.decide(running, [asked])
        actions = offered(world, user, now).actions
        assert set(actions) == {record.eligible.action(place) for place in range(len(record.eligible))}
        assert len(actions) == 73


def test_a_channel_that_a_user_has_left_is_not_among_the_actions(world: World) -> None:
    state = world.new_state()
    state.left[0, 0] = True
    actions = world.offer(0, MONDAY, state).actions
    assert len(actions) == 37
    assert {action.channel for action in actions} == {None, "email"}
    state.left[0, 1] = True
    alone = world.offer(0, MONDAY, state)
    assert len(alone.actions) == 1
    assert list(world.expected_rewards(0, alone, MONDAY, state)) == [world.silence_values(np.array(0))]


def test_the_expected_reward_of_a_send_is_the_formula(rich: World) -> None:
    """Saturday, 11 January 2025, 9 a.m. in New York, for a user with a past, term by term."""
    user, now = user_in(rich, "America/New_York"), datetime(2025, 1, 11, 14, tzinfo=UTC)
    state, day = rich.new_state(), 5 + 14 / 24
    for content, sent_on in [(4, 1.0), (2, 3.0)]:
        state.send(RICH.pressure, np.array([user]), np.array([content]), sent_on)
    traits, surface = rich.traits, rich.surfaces[0]
    felt = exp(-(day - 1) / 3) + exp(-(day - 3) / 3)
    remembered = exp(-(day - 1) / 50) + exp(-(day - 3) / 50)
    angle = 2 * pi * day / 40
    log_odds = (
        traits.activity[user]
        - traits.annoyance[user]
        + surface.tastes.leaning[user, 1]
        + surface.tastes.taste[user, 2]
        + surface.fit[1, 2]
        + surface.weekly[2, 5]
        + surface.tastes.rhythm[user, 12 - 2]
        + surface.moment[1, 12]
        + surface.mood[2, 12]
        + surface.levels[4]
        + (cos(angle) - 1) * surface.turned[0, 4]
        + np.sin(angle) * surface.turned[1, 4]
        - traits.sensitivity[user] * 0.4 * felt
        - 1.5 * (1 - exp(-remembered / 8))
        - 0.6 * 0.5 ** ((day - 1) / 15)
    )
    pressed = traits.annoyance[user] + 0.5 * traits.sensitivity[user] * felt
    p = 1 / (1 + exp(-log_odds))
    o = 1 / (1 + exp(-pressed - level(0.002, traits.annoyance)))
    v = 1 / (1 + exp(-traits.activity[user] - level(0.0865, traits.activity)))
    expected = -0.02 + p * 1.0 + (1 - p) * (o * -5.0 + (1 - o) * v * 0.3)
    noon = Action(channel="email", content="music-release", send_at=datetime(2025, 1, 11, 17, tzinfo=UTC))
    offer = rich.offer(user, now, state)
    place = offer.actions.index(noon)
    assert rich.expected_rewards(user, offer, now, state)[place] == pytest.approx(expected, abs=1e-12)


def test_silence_earns_the_organic_visit_and_costs_nothing(world: World) -> None:
    visit = 1 / (1 + exp(-level(0.0865, world.traits.activity) - world.traits.activity[3]))
    assert values(world, 3)[0] == pytest.approx(0.3 * visit, abs=1e-12)


def test_a_level_makes_the_mean_probability_the_target() -> None:
    log_odds = np.random.default_rng(1).normal(size=1_000)
    assert sigmoid(log_odds + level(0.013, log_odds)).mean() == pytest.approx(0.013, abs=1e-9)
    assert sigmoid(log_odds + level(0.0, log_odds)).max() == 0.0


def test_the_hour_is_read_on_the_users_own_clock(world: World) -> None:
    offer = offered(world, user_in(world, "Asia/Kolkata"))
    evening = Action(channel="push", content="food-quiz", send_at=datetime(2026, 1, 5, 15, 30, tzinfo=UTC))
    assert offer.hours[offer.actions.index(evening) - 1] == 21


def test_a_rhythm_is_highest_at_its_peak_hour() -> None:
    wave = daily(np.array([18.0]))
    assert wave.argmax() == 18
    assert wave[0, 6] == pytest.approx(-1.0)
    assert wave[0, 20] == pytest.approx(cos(2 * pi * 2 / 24))


@pytest.mark.parametrize("name", ["world", "touchy", "rich"])
def test_the_expected_reward_is_the_mean_of_what_users_do(name: str, request: pytest.FixtureRequest) -> None:
    world: World = request.getfixturevalue(name)
    state, rng, n = world.new_state(), np.random.default_rng(1), 3_000
    state.send(world.preset.pressure, np.array([11]), np.array([0]), day_of(MONDAY) - 0.5)
    offer = world.offer(11, MONDAY, state)
    for place in some_places(world, 11):
        events = [world.respond(11, offer, place, now=MONDAY, state=state, rng=rng) for _ in range(n)]
        rewards = np.array([world.reward(offer.actions[place].channel, one) for one in events])
        tolerance = SIGMAS * rewards.std() / sqrt(n) + 1e-12
        expected = world.expected_rewards(11, offer, MONDAY, state)[place]
        assert abs(rewards.mean() - expected) < tolerance


def test_an_opt_out_that_the_formula_forgets_would_be_noticed(touchy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with_opt_outs = values(touchy, 11)[1]
    monkeypatch.setattr(touchy, "_opt_out_levels", np.array([-np.inf, -np.inf]))
    assert values(touchy, 11)[1] - with_opt_outs > 1.0


def after_one_send(world: World, days: float) -> tuple[float, float]:
    """Best value for user 5 before and so many days after a send of the first content."""
    state = world.new_state()
    before = world.expected_rewards(5, world.offer(5, START, state), START, state).max()
    state.send(world.preset.pressure, np.array([5]), np.array([0]), 0.0)
    now = START + timedelta(days=days)
    return float(before), float(world.expected_rewards(5, world.offer(5, now, state), now, state).max())


def test_a_user_tires_and_recovers() -> None:
    tiring = replace(DEMO, pressure=Pressure(fatigue=1.0))
    world = build_world(seed=1, n_users=50, preset=tiring)
    before, soon = after_one_send(world, 0.1)
    _, later = after_one_send(world, 21.0)
    assert soon < 0.9 * before
    assert later == pytest.approx(before, rel=0.01)


def test_a_content_recovers_by_duolingos_half_life() -> None:
    world = build_world(seed=1, n_users=50, preset=replace(DEMO, pressure=Pressure(novelty=0.017)))
    state, user, both = world.new_state(), np.array([5]), np.array([0, 1])
    state.send(world.preset.pressure, user, np.array([0]), 0.0)
    for days, penalty in [(0, 0.017), (15, 0.0085), (30, 0.00425), (7.5, 0.017 * 0.5**0.5)]:
        lost = state.staleness(world.preset.pressure, user, both, float(days))
        assert list(lost) == pytest.approx([penalty, 0.0], abs=1e-15)


def test_habituation_goes_on_for_weeks_and_has_an_end() -> None:
    law = Pressure(habituation=2.0, habituation_sends=10.0, habituation_days=60.0)
    world = build_world(seed=1, n_users=2, preset=replace(DEMO, pressure=law))
    state, user = world.new_state(), np.array([0])
    for day in range(28):
        state.send(law, user, np.array([0]), float(day))
    remembered = state.remembered_sends(law, user, 27.0)
    assert remembered == pytest.approx(sum(exp(-day / 60) for day in range(28)))
    assert state.remembered_sends(law, user, 87.0) == pytest.approx(remembered / np.e)
    assert state.remembered_sends(law, np.array([1]), 27.0) == 0.0


def test_pressure_makes_leaving_likelier(rich: World) -> None:
    state, users = rich.new_state(), np.arange(len(rich))
    place = np.array(0)
    rested = rich.chances(users, place, place, np.array(12), place, day=0.0, state=state)
    for _ in range(4):
        state.send(RICH.pressure, users, place, 0.0)
    pressed = rich.chances(users, place, place, np.array(12), place, day=0.0, state=state)
    assert rested.opt_out.mean() == pytest.approx(0.001, abs=1e-9)
    assert rested.mute.mean() == pytest.approx(0.001, abs=1e-9)
    assert (pressed.opt_out > rested.opt_out).all()
    assert pressed.opt_out.mean() > 3 * rested.opt_out.mean()
    assert (pressed.mute > rested.mute).all()


def test_a_muted_channel_is_offered_but_unheard(rich: World) -> None:
    state = rich.new_state()
    state.muted[3, 0] = True
    offer = rich.offer(3, MONDAY, state)
    earned = rich.expected_rewards(3, offer, MONDAY, state)
    on_push = [place for place, action in enumerate(offer.actions) if action.channel == "push"]
    assert len(on_push) == 36
    assert earned[on_push] == pytest.approx(earned[0] - 0.03)


def responses(world: World) -> Iterator[tuple[Action, str, datetime]]:
    rng, state = np.random.default_rng(2), world.new_state()
    for user in range(len(world)):
        offer = offered(world, user)
        place = int(np.argmax(values(world, user)))
        for event in world.respond(user, offer, place, now=MONDAY, state=state, rng=rng):
            yield offer.actions[place], event.name, event.occurred_at


def test_a_response_comes_after_its_send_and_hours_before_the_window_ends(touchy: World) -> None:
    seen = set()
    for action, name, occurred_at in responses(touchy):
        seen.add(name)
        assert MONDAY < occurred_at <= MONDAY + timedelta(hours=30)
        if name != VISITED:
            assert action.send_at is not None
            assert timedelta(0) < occurred_at - action.send_at <= timedelta(hours=6)
    assert seen == {CLICKED, UNSUBSCRIBED, VISITED, MUTED}
    assert touchy.campaign.reward.window_hours == 36


def test_whatever_is_sent_takes_the_same_count_of_random_numbers(world: World) -> None:
    after, offer, state = [], offered(world, 5), world.new_state()
    for place in some_places(world, 5):
        rng = np.random.default_rng(3)
        world.respond(5, offer, place, now=MONDAY, state=state, rng=rng)
        after.append(rng.random())
    assert len(set(after)) == 1


def test_reports_are_lost_and_repeated_as_often_as_told() -> None:
    law = Reporting(lost=0.2, duplicated=0.3)
    world = build_world(seed=1, n_users=50, preset=replace(DEMO, organic_rate=0.5, reporting=law))
    rng, state, n = np.random.default_rng(4), world.new_state(), 4_000
    offer = offered(world, 0)
    visits = [one for _ in range(n) for one in world.respond(0, offer, 0, now=MONDAY, state=state, rng=rng)]
    counts = np.bincount([len(one.reported_at) for one in visits], minlength=3) / len(visits)
    assert counts == pytest.approx([0.2, 0.56, 0.24], abs=SIGMAS * 0.5 / sqrt(len(visits)))


def test_for_a_few_users_silence_is_best() -> None:
    world = build_world(seed=1, n_users=2_000)
    silent = sum(int(np.argmax(values(world, user))) == 0 for user in range(len(world)))
    assert 0.005 < silent / len(world) < 0.10


def test_features_show_only_a_part_of_the_traits(world: World) -> None:
    features, traits = world.features, world.traits
    for seen, trait in [
        (np.log(features.visits_per_week), traits.activity),
        (features.dismissed_share, traits.annoyance),
    ]:
        assert 0.7 < np.corrcoef(seen, trait)[0, 1] < 0.97
    alike = (features.country == 0) & (features.age == features.age[0]) & (features.topics[:, 0] == 1)
    assert world.surfaces[0].tastes.taste[alike, 0].std() > 0.1


def test_tolerance_shows_only_in_part(rich: World) -> None:
    shown = np.corrcoef(rich.features.dismissed_share, np.log(rich.traits.sensitivity))[0, 1]
    assert 0.3 < shown < 0.7


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
    one, same, other = (build_world(seed=seed, n_users=50, preset=RICH) for seed in (1, 1, 2))
    assert one.user_document(0) == same.user_document(0)
    assert values(one, 0) == values(same, 0)
    assert values(one, 0) != values(other, 0)


def test_users_arrive_in_time_order_as_often_as_asked(world: World) -> None:
    arrivals = list(islice(world.arrivals(start=MONDAY, per_day=250.0, rng=np.random.default_rng(4)), 2_000))
    moments = [one.now for one in arrivals]
    assert moments == sorted(moments)
    days = (moments[-1] - MONDAY) / timedelta(days=1)
    assert abs(days - 8.0) < SIGMAS * 8.0 / sqrt(2_000)
    assert len({one.user for one in arrivals}) > 450


def test_everybody_comes_once_a_day_where_it_is_so(world: World) -> None:
    arrivals = list(islice(world.arrivals(start=START, per_day=None, rng=np.random.default_rng(4)), 1_500))
    assert [one.now for one in arrivals] == sorted(one.now for one in arrivals)
    for day in range(3):
        that_day = arrivals[500 * day : 500 * (day + 1)]
        assert {one.user for one in that_day} == set(range(500))
        assert {int(day_of(one.now)) for one in that_day} == {day}


def test_newcomers_are_met_from_the_day_they_join() -> None:
    growing = replace(DEMO, change=Change(newcomers=0.5, joining_days=20.0))
    world = build_world(seed=1, n_users=400, preset=growing)
    assert 0.4 < (world.joined > 0).mean() < 0.6
    for per_day in (100.0, None):
        arrivals = list(islice(world.arrivals(start=START, per_day=per_day, rng=np.random.default_rng(1)), 3_000))
        assert all(world.joined[one.user] <= day_of(one.now) for one in arrivals)
        assert any(world.joined[one.user] > 0 for one in arrivals)


def test_a_new_content_is_offered_from_its_day() -> None:
    contents = (*DEMO.contents[:-1], ContentLaw(id="food-quiz", topic="food", from_day=10.0))
    world = build_world(seed=1, n_users=20, preset=replace(DEMO, contents=contents))
    assert len(offered(world, 0, START + timedelta(days=9.9)).actions) == 65
    assert len(offered(world, 0, START + timedelta(days=10)).actions) == 73


def test_a_sleeping_content_is_awake_as_often_as_told_and_always_the_same() -> None:
    contents = (ContentLaw(id="a", topic="t", awake=0.5), ContentLaw(id="b", topic="t"))
    world = build_world(seed=1, n_users=1_000, preset=replace(DEMO, contents=contents))
    days = np.array([world.available(np.arange(1_000), day) for day in range(10)])
    assert abs(days[:, :, 0].mean() - 0.5) < SIGMAS * 0.5 / sqrt(10_000)
    assert days[:, :, 1].all()
    by_user = days[:, :, 0].mean(axis=0)
    assert by_user.std() == pytest.approx(0.5 / sqrt(10), rel=0.15)  # nobody's is always awake
    now = START + timedelta(days=3.7)
    for user in range(20):
        there = world.contents_for(user, now)
        assert (0 in there) == days[3, user, 0]
        assert {action.content for action in offered(world, user, now).actions[1:]} == {"ab"[place] for place in there}


def test_contents_turn_into_others_and_back() -> None:
    world = build_world(seed=1, n_users=50, preset=replace(DEMO, change=Change(drift_days=40.0)))
    monday = START + timedelta(days=7)
    now, half, back = (np.array(values(world, 0, monday + timedelta(days=days))) for days in (0, 20, 40))
    assert not np.allclose(now, half)
    # Forty days later it is a Saturday, which does not matter here.
    assert now == pytest.approx(back, abs=1e-12)


def test_after_an_abrupt_change_everything_is_drawn_anew_but_the_users() -> None:
    changing = replace(DEMO, change=Change(abrupt_days=(30.0,)))
    world = build_world(seed=1, n_users=2_000, preset=changing)
    before, after = world.surface(29.9), world.surface(30.0)
    assert before is not after
    assert before.traits is after.traits
    assert abs(np.corrcoef(before.tastes.leaning[:, 0], after.tastes.leaning[:, 0])[0, 1]) < 0.95
    calm = replace(changing, change=Change())
    assert build_world(seed=1, n_users=50, preset=calm).surface(99.0) is not None


def log_odds_at_noon(world: World, users: np.ndarray) -> np.ndarray:
    """Of a push with the first content on a Monday."""
    place = np.array(0)
    return world.surfaces[0].log_odds(users, place, place, np.array(12), place, 0.0)


def test_users_of_one_segment_are_alike_and_those_of_two_are_not() -> None:
    world = build_world(seed=7, n_users=400, preset=SEGMENTS)
    segment = world.features.segment
    assert set(segment) == set(range(8))
    noon = log_odds_at_noon(world, np.arange(400))
    by_segment = [noon[segment == one] for one in range(8)]
    assert max(np.ptp(one) for one in by_segment) < 1e-12
    assert np.std([one[0] for one in by_segment]) > 0.5
    for user in (0, 1):
        assert world.user_document(user)["features"]["segment"] == f"s-{segment[user]}"
    assert "segment" not in build_world(seed=7, n_users=5).user_document(0)["features"]


def test_what_segments_make_of_channel_topic_and_hour_adds_up() -> None:
    world = build_world(seed=7, n_users=50, preset=SEGMENTS)
    surface, user = world.surfaces[0], np.array(3)
    moment, push, email, news, food = surface.moment, *map(np.array, (0, 1, 0, 6))
    one = surface.log_odds(user, push, news, np.array(8), push, 0.0)
    other = surface.log_odds(user, email, food, np.array(21), push, 0.0)
    shown, topic = surface.tastes.shown, surface.topic_of[6]
    expected = (
        shown.segment_leaning[3, 0]
        - shown.segment_leaning[3, 1]
        + shown.segment_taste[3, 0]
        - shown.segment_taste[3, topic]
        + shown.segment_rhythm[3, 8]
        - shown.segment_rhythm[3, 21]
        + moment[0, 8]
        - moment[1, 21]
        + surface.levels[0]
        - surface.levels[6]
    )
    assert one - other == pytest.approx(expected, abs=1e-12)


def test_a_response_with_a_step_has_two_heights_and_the_presets_mean() -> None:
    world = build_world(seed=7, n_users=500, preset=THRESHOLD)
    grid = np.ix_(np.arange(500), np.arange(2), np.array(THRESHOLD.local_hours), np.arange(7))
    users, channels, hours, weekdays = grid
    clicks = [
        world.chances(users, channels, np.array(one), hours, weekdays, day=0.0, state=world.new_state()).click
        for one in range(9)
    ]
    assert set(np.unique(clicks)) == {0.02, 0.25}
    wanted = 0.06 * np.exp(world.surfaces[0].turned[0] - 0.3**2 / 2)
    # The seven weekdays are alike, so that the level moves seven of the 28,000 responses at a time.
    assert np.mean(clicks, axis=(1, 2, 3, 4)) == pytest.approx(np.clip(wanted, 0.02, 0.25), abs=0.23 * 7 / 28_000)


def test_three_together_say_more_than_any_two() -> None:
    """With the users' own parts taken away, what is left of age x topic x hour is no sum of tables of two."""
    world = build_world(seed=7, n_users=2_000, preset=THRESHOLD)
    surface, hours = world.surfaces[0], np.array(THRESHOLD.local_hours)
    first = np.array([np.flatnonzero(world.features.age == age)[0] for age in range(4)])
    users, contents, places = np.ix_(first, np.array([0, 2, 4, 6]), hours)
    channel, weekday = np.array(0), np.array(0)
    whole = surface.log_odds(users, channel, contents, places, weekday, 0.0)
    without = replace(surface, three=None).log_odds(users, channel, contents, places, weekday, 0.0)
    table = whole - without
    assert surface.three is not None
    assert table == pytest.approx(surface.three[:, :, hours], abs=1e-12)
    for axis in range(3):
        table = table - table.mean(axis=axis, keepdims=True)
    assert table.std() > 0.3  # 0.8, less the degrees of freedom of the pairs


def test_a_request_brings_some_contents_of_a_library_with_their_embeddings() -> None:
    world = build_world(seed=7, n_users=30, preset=THOUSAND)
    assert world.document["contents"] == []
    embeddings = world.surfaces[0].embeddings
    assert embeddings is not None
    asked = world.contents_asked(4, MONDAY)
    assert asked is not None
    assert len(asked) == 10
    for content in asked:
        place = world.contents.index(content["id"])
        assert content["features"]["embedding"] == list(embeddings[place])
        assert len(content["features"]["embedding"]) == 32
    assert {one["id"] for one in asked} == {action.content for action in offered(world, 4).actions[1:]}
    assert len(offered(world, 4).actions) == 1 + 2 * 10 * 2
    tomorrow = world.contents_asked(4, MONDAY + timedelta(days=1))
    assert tomorrow is not None
    assert {one["id"] for one in asked} != {one["id"] for one in tomorrow}


def test_every_content_of_a_library_is_offered_as_often() -> None:
    world = build_world(seed=7, n_users=1_000, preset=THOUSAND)
    offers = sum(world.available(np.arange(1_000), day).sum(axis=0) for day in range(10))
    assert np.sum(offers) == 10 * 1_000 * 10
    # Each is binomial with mean 100; their variance over the contents is 99 within its sampling error.
    assert np.var(offers) == pytest.approx(99.0, rel=SIGMAS * sqrt(2 / 1_000))


def test_what_users_make_of_an_embedding_is_a_product_of_two_vectors() -> None:
    world = build_world(seed=7, n_users=30, preset=THOUSAND)
    surface, user = world.surfaces[0], np.array([5])
    contents = np.arange(1_000)
    same = surface.log_odds(user, np.array(0), contents, np.array(12), np.array(0), 0.0)
    plain = replace(surface, embeddings=None).log_odds(user, np.array(0), contents, np.array(12), np.array(0), 0.0)
    assert surface.embeddings is not None
    assert same - plain == pytest.approx(surface.embeddings @ surface.tastes.liking[5], abs=1e-12)
    assert (same - plain).std() == pytest.approx(0.8, rel=0.35)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ContentLaw(id="a", topic="t", rate=1.2), "a: rate: 1.2 is a rate"),
        (lambda: ContentLaw(id="a", topic="t", awake=0.0), r"a: awake: 0.0 must be in \(0, 1\]"),
        (lambda: Pressure(fatigue_days=0.0), "fatigue_days: 0.0 must be positive"),
        (lambda: Hazards(opt_out={"push": -0.1}), "opt_out.push: -0.1 is a rate"),
        (lambda: replace(DEMO, hazards=Hazards(mute={"sms": 0.1})), "demo: hazards name 'sms'"),
        (lambda: Change(abrupt_days=(3.0, 1.0)), "must ascend"),
        (lambda: Reporting(lost=1.0), "lost: 1.0 is a rate"),
        (lambda: Step(low=0.3, high=0.2), "low: 0.3 must be less than high, 0.2"),
        (lambda: Step(low=-0.1, high=0.2), "low: -0.1 is a rate"),
        (lambda: Library(numbers=0, offered=1), "numbers: 0 must be positive"),
        (lambda: replace(DEMO, library=Library(numbers=2, offered=10)), "demo: offered: 10 is more than 9 contents"),
        (lambda: replace(THRESHOLD, response_rate=0.3), "threshold: response_rate: 0.3 is not between"),
    ],
)
def test_a_law_that_makes_no_sense_is_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()


def test_a_world_without_differences_gives_every_user_the_rate() -> None:
    flat = Spreads(activity=0, annoyance=0, leaning=0, taste=0, rhythm=0, moment=0, quality=0)
    world = build_world(seed=1, n_users=10, preset=replace(DEMO, spreads=flat))
    places = np.arange(10), np.array(0), np.array(3), np.array(12), np.array(2)
    assert world.chances(*places, day=0.0, state=world.new_state()).click == pytest.approx(0.15, abs=1e-9)
