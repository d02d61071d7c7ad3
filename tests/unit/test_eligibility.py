"""`eligibility`: each rule by an example, and at its boundary. `tests/property` has all of them together."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from bandit.campaign.document import Campaign, Cap
from bandit.decide import eligibility
from bandit.decide.eligibility import EligibleSet, Rule, eligible_set, reaches_cap
from bandit.decide.history import History, Send
from bandit.domain import SILENCE, Content
from bandit.engine.cells import cells_of
from bandit.errors import ImpossibleInput
from bandit.sendtimes import QuietHours, zone
from tests.support.builders import MORNING, campaign, request

TICK = timedelta(microseconds=1)
NOW_ONLY = {"local_hours": [], "allow_now": True}
ONE = [{"id": "streak"}]
CAP_OF_ONE = {"count": 1, "hours": 24}


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def sent(away: timedelta, channel: str = "push", content: str = "streak", *, at: datetime = MORNING) -> Send:
    """A send that far from now; negative: in the past."""
    send_at = at + away
    return Send(decision_id=f"d{send_at}", channel=channel, content=content, kind=None, send_at=send_at)


def allowed(document: Campaign, past: Iterable[Send] = (), *, now: datetime = MORNING, **asked: Any) -> EligibleSet:
    history = History(sends=tuple(sorted(past, key=lambda send: send.send_at)))
    about = request(now=now, **asked)
    return eligible_set(document, about, history, now=now, local=zone(about.user.timezone))


def blocked(eligible: EligibleSet) -> dict[str, int]:
    return {rule: one.number for rule, one in eligible.cells.blocked}


def sends_of(eligible: EligibleSet) -> set[tuple[str | None, str | None, datetime | None]]:
    actions = [eligible.action(place) for place in range(1, len(eligible))]
    return {(action.channel, action.content, action.send_at) for action in actions}


def times_of(eligible: EligibleSet) -> list[datetime | None]:
    """When push could be sent."""
    actions = [eligible.action(place) for place in range(1, len(eligible))]
    return [action.send_at for action in actions if action.channel == "push"]


# --- the whole set


def test_without_a_rule_that_bites_every_channel_content_and_time_is_eligible_after_silence() -> None:
    eligible = allowed(campaign())

    assert eligible.action(0) == SILENCE
    assert len(eligible) == 1 + 2 * 3 * 3
    assert blocked(eligible) == {}
    instants = [MORNING, *(datetime(2026, 3, 2, hour, tzinfo=UTC) for hour in (12, 18))]
    assert times_of(eligible) == instants * 3


def test_an_action_is_found_at_its_place_and_a_blocked_one_is_not() -> None:
    eligible = allowed(campaign(), channels=["email"])
    noon = eligible.candidates.times[1]

    place = eligible.find("email", "digest", noon)
    assert place is not None
    action = eligible.action(place)
    assert (action.channel, action.content, action.send_at) == ("email", "digest", noon.send_at)
    assert eligible.find("push", "digest", noon) is None


def test_the_mask_says_which_cells_are_eligible() -> None:
    eligible = allowed(campaign(caps={"min_gap_hours": 4}), [sent(hours(-2))], channels=["email"])
    candidates = eligible.candidates

    cells = cells_of(eligible.cells.mask, len(candidates.contents), len(candidates.times))
    assert cells == eligible.cells.eligible
    assert len(cells) == 6


def test_no_contents_leave_only_silence() -> None:
    assert sends_of(allowed(campaign(), contents=[])) == sends_of(allowed(campaign(contents=[]))) == set()


def test_the_first_rule_in_order_is_the_one_that_counts_and_its_first_action_is_the_example() -> None:
    document = campaign(
        contents=[{"id": "streak", "channels": ["push"], "repeat_after_hours": 72}, {"id": "digest"}],
        caps={"min_gap_hours": 4, **CAP_OF_ONE},
        send_times={"quiet_hours": {"start": "18:00", "end": "19:00"}},
    )
    eligible = allowed(document, [sent(hours(-1), "email")])

    assert blocked(eligible) == {
        Rule.REPEAT: 3,  # streak by push: all day, though it is also too soon, capped and in the evening quiet
        Rule.MIN_GAP: 2,  # digest now, by either
        Rule.CAP: 2,  # digest at noon, exactly the gap after what was sent
        Rule.QUIET_HOURS: 2,  # digest in the evening
        Rule.CONTENT_CHANNEL: 3,  # streak by email
    }
    examples = {rule: eligible.candidates.action(one.example) for rule, one in eligible.cells.blocked}
    assert (examples[Rule.CONTENT_CHANNEL].channel, examples[Rule.CONTENT_CHANNEL].content) == ("email", "streak")
    assert examples[Rule.CONTENT_CHANNEL].send_at == MORNING
    assert (examples[Rule.CAP].channel, examples[Rule.CAP].content) == ("push", "digest")
    assert examples[Rule.CAP].send_at == datetime(2026, 3, 2, 12, tzinfo=UTC)


# --- consent and channels


@pytest.mark.parametrize(
    ("reachable", "channels"),
    [
        (None, {"push", "email"}),
        (["email"], {"email"}),
        (["email", "fax"], {"email"}),
        (["fax"], set()),
        ([], set()),
    ],
)
def test_only_channels_with_consent_are_eligible(reachable: list[str] | None, channels: set[str]) -> None:
    eligible = allowed(campaign(), channels=reachable)

    assert {channel for channel, _, _ in sends_of(eligible)} == channels
    assert blocked(eligible).get(Rule.UNREACHABLE, 0) == 9 * (2 - len(channels))


def test_a_content_goes_only_to_the_channels_that_it_is_made_for() -> None:
    document = campaign(contents=[{"id": "streak", "channels": ["push"]}, {"id": "digest"}])
    own = Content(id="pin-9", channels=frozenset({"email"}))

    eligible = allowed(document, contents=["streak", "digest", own])
    pairs = {(channel, content) for channel, content, _ in sends_of(eligible)}
    assert pairs == {("push", "streak"), ("push", "digest"), ("email", "digest"), ("email", "pin-9")}
    assert blocked(eligible) == {Rule.CONTENT_CHANNEL: 6}


# --- expiry and repeat distance


@pytest.mark.parametrize(
    ("expires", "number"), [(timedelta(0), 0), (TICK, 1), (-TICK, 0), (hours(3), 1), (hours(4), 2)]
)
def test_nothing_is_sent_at_or_after_its_expiry(expires: timedelta, number: int) -> None:
    document = campaign(contents=[{"id": "streak", "expires_at": (MORNING + expires).isoformat()}])

    eligible = allowed(document, channels=["push"])
    assert times_of(eligible) == [MORNING, MORNING + hours(3)][:number]
    assert blocked(eligible)[Rule.EXPIRED] == 3 - number


@pytest.mark.parametrize(
    ("away", "free"), [(hours(-48), True), (hours(-48) + TICK, False), (hours(48), True), (hours(48) - TICK, False)]
)
def test_a_content_is_sent_again_exactly_its_repeat_distance_later_and_no_sooner(away: timedelta, free: bool) -> None:
    document = campaign(contents=[{"id": "streak", "repeat_after_hours": 48}], send_times=NOW_ONLY)

    eligible = allowed(document, [sent(away, "email")])
    assert sends_of(eligible) == ({(one, "streak", MORNING) for one in ("push", "email")} if free else set())
    assert blocked(eligible) == ({} if free else {Rule.REPEAT: 2})


def test_only_the_content_itself_is_kept_from_repeating() -> None:
    document = campaign(contents=[{"id": "streak", "repeat_after_hours": 48}, {"id": "digest"}])

    eligible = allowed(document, [sent(hours(-1)), sent(hours(-1), content="digest")])
    assert {content for _, content, _ in sends_of(eligible)} == {"digest"}


def test_a_content_of_the_request_looks_back_further_than_every_rule_of_the_campaign() -> None:
    own = Content(id="pin-9", repeat_after_hours=400)
    document = campaign(caps={"min_gap_hours": 1})

    assert blocked(allowed(document, [sent(hours(-399), content="pin-9")], contents=[own])) == {Rule.REPEAT: 2 * 1}
    assert blocked(allowed(document, [sent(hours(-400), content="pin-9")], contents=[own])) == {}


@pytest.mark.parametrize(("own", "listed"), [(24, 48), (48, 24), (None, 48), (48, None)])
def test_of_two_repeat_distances_for_one_content_the_longer_holds(own: float | None, listed: float | None) -> None:
    document = campaign(contents=[{"id": "streak", "repeat_after_hours": listed}], send_times=NOW_ONLY)
    contents = [Content(id="streak", repeat_after_hours=own)]

    assert blocked(allowed(document, [sent(hours(-47))], contents=contents)) == {Rule.REPEAT: 2}
    assert blocked(allowed(document, [sent(hours(-48))], contents=contents)) == {}


# --- quiet hours


@pytest.mark.parametrize(
    ("start", "end", "free"),
    [
        ("12:00", "13:00", [9, 18]),  # at the start: quiet
        ("11:00", "12:00", [9, 12, 18]),  # at the end: not
        ("11:59", "12:01", [9, 18]),
        ("18:00", "09:00", [9, 12]),  # across midnight
        ("17:59", "09:01", [12]),
        ("00:00", "23:59", []),
        ("18:01", "18:00", [18]),
    ],
)
def test_quiet_hours_hold_from_their_start_until_their_end(start: str, end: str, free: list[int]) -> None:
    window = {"start": start, "end": end}
    own = QuietHours(start=time.fromisoformat(start), end=time.fromisoformat(end))
    expected = [datetime(2026, 3, 2, hour, tzinfo=UTC) for hour in free]

    campaigns = allowed(campaign(contents=ONE, send_times={"quiet_hours": window}))
    assert times_of(campaigns) == times_of(allowed(campaign(contents=ONE), quiet_hours=own)) == expected
    assert blocked(campaigns) == ({Rule.QUIET_HOURS: 2 * (3 - len(free))} if len(free) < 3 else {})


def test_the_users_quiet_hours_are_added_to_the_campaigns() -> None:
    document = campaign(contents=ONE, send_times={"quiet_hours": {"start": "17:00", "end": "19:00"}})

    eligible = allowed(document, quiet_hours=QuietHours(start=time(11), end=time(13)))
    assert times_of(eligible) == [MORNING]


@pytest.mark.parametrize(
    ("now", "free"), [(-TICK, True), (timedelta(0), False), (hours(1) - TICK, False), (hours(1), True)]
)
def test_now_is_quiet_to_the_microsecond(now: timedelta, free: bool) -> None:
    document = campaign(send_times={**NOW_ONLY, "quiet_hours": {"start": "09:00", "end": "10:00"}})
    assert bool(sends_of(allowed(document, now=MORNING + now))) is free


@pytest.mark.parametrize(
    ("timezone", "free"), [("UTC", True), ("Asia/Kathmandu", False), ("Asia/Kolkata", True), ("Asia/Tokyo", True)]
)
def test_quiet_hours_are_those_of_the_users_clock(timezone: str, free: bool) -> None:
    # 09:00 UTC is 14:45 in Kathmandu and 14:30 in Kolkata.
    document = campaign(send_times={**NOW_ONLY, "quiet_hours": {"start": "14:45", "end": "14:46"}})
    assert bool(sends_of(allowed(document, timezone=timezone))) is free


# --- gap and caps


@pytest.mark.parametrize(
    ("away", "free"), [(hours(-4), True), (TICK - hours(4), False), (hours(4), True), (hours(4) - TICK, False)]
)
def test_two_sends_may_be_exactly_the_gap_apart_and_no_closer(away: timedelta, free: bool) -> None:
    document = campaign(send_times=NOW_ONLY, caps={"min_gap_hours": 4})

    eligible = allowed(document, [sent(away, "email", "gone")])
    assert blocked(eligible) == ({} if free else {Rule.MIN_GAP: 6})


@pytest.mark.parametrize(
    ("away", "free"), [(hours(-24), True), (TICK - hours(24), False), (hours(24), True), (hours(24) - TICK, False)]
)
def test_two_sends_exactly_the_caps_hours_apart_share_no_window(away: timedelta, free: bool) -> None:
    past = [sent(away, "email", "gone")]

    over_all = campaign(send_times=NOW_ONLY, caps=CAP_OF_ONE)
    assert blocked(allowed(over_all, past)) == ({} if free else {Rule.CAP: 6})
    of_channel = campaign(send_times=NOW_ONLY, channels={"email": {"cap": CAP_OF_ONE}})
    assert blocked(allowed(of_channel, past)) == ({} if free else {Rule.CHANNEL_CAP: 3})


def test_a_channels_cap_counts_only_its_own_sends() -> None:
    document = campaign(channels={one: {"cap": CAP_OF_ONE} for one in ("push", "email")})

    eligible = allowed(document, [sent(hours(-1), "email")])
    assert {channel for channel, _, _ in sends_of(eligible)} == {"push"}


def test_the_gap_and_a_cap_are_over_what_is_left_of_the_past_when_the_oldest_is_out_of_reach() -> None:
    document = campaign(send_times=NOW_ONLY, caps={"count": 2, "hours": 24})

    assert blocked(allowed(document, [sent(hours(-25)), sent(hours(-23))])) == {}
    assert blocked(allowed(document, [sent(hours(-22)), sent(hours(-23))])) == {Rule.CAP: 6}


def test_a_cap_blocks_only_the_times_at_which_it_is_reached() -> None:
    document = campaign(contents=ONE, caps=CAP_OF_ONE)

    eligible = allowed(document, [sent(hours(-21))])  # 24 hours after it, it is noon
    assert times_of(eligible) == [MORNING + hours(3), MORNING + hours(9)]


# Per cap of two in 24 hours: hours from the new send to those that are there, and whether one more is too many.
WINDOWS = [
    ([], False),
    ([-1], False),
    ([1], False),
    ([-1, -2], True),
    ([1, 2], True),
    ([-1, 1], True),
    ([3, 20], True),
    ([3, 24], False),
    ([-24, -1], False),
    ([-12, 12], False),  # 24 hours apart: no window holds both, whatever stands between
    ([-12, 11.999], True),
    ([-23, 23], False),  # each shares a window with the new one, never the same
    ([-23, 0.5, 23], True),
    ([-24, 24], False),
    ([-30, -25, 25, 30], False),
    ([0], False),
    ([0, 0], True),
    ([23, 23.5], True),
    ([26, 27], False),
    ([-40, -39, -38, 38, 39, 40], False),  # too many already, but in windows that the new one is not in
]


@pytest.mark.parametrize(("away", "full"), WINDOWS)
def test_no_rolling_window_that_holds_the_new_send_may_hold_more_than_the_cap(away: list[float], full: bool) -> None:
    past = [MORNING + hours(one) for one in away]
    assert reaches_cap(MORNING, past, Cap(count=2, hours=24.0)) is full

    document = campaign(send_times=NOW_ONLY, caps={"count": 2, "hours": 24})
    assert blocked(allowed(document, [sent(hours(one)) for one in away])) == ({Rule.CAP: 6} if full else {})


# --- times


def test_an_hour_that_does_not_exist_that_day_is_no_action() -> None:
    now = datetime(2026, 3, 8, 5, 30, tzinfo=UTC)  # 00:30 in New York; its clock jumps from 02:00 to 03:00
    document = campaign(contents=ONE, horizon_hours=12, send_times={"local_hours": [1, 2, 3], "allow_now": False})

    eligible = allowed(document, now=now, timezone="America/New_York")
    assert times_of(eligible) == [datetime(2026, 3, 8, hour, tzinfo=UTC) for hour in (6, 7)]
    assert [time.local_hour for time in eligible.candidates.times] == [1, 3]


def test_an_hour_that_comes_twice_that_day_is_one_action() -> None:
    now = datetime(2026, 11, 1, 4, 30, tzinfo=UTC)  # 00:30 in New York; 01:00 comes at 05:00 and 06:00 UTC
    document = campaign(contents=ONE, horizon_hours=12, send_times={"local_hours": [1], "allow_now": False})

    assert times_of(allowed(document, now=now, timezone="America/New_York")) == [datetime(2026, 11, 1, 5, tzinfo=UTC)]


@pytest.mark.parametrize(("late", "number"), [(timedelta(0), 2), (-TICK, 1)])
def test_a_send_may_lie_exactly_at_the_horizon_and_no_further(late: timedelta, number: int) -> None:
    document = campaign(contents=ONE, horizon_hours=9, send_times={"allow_now": False})
    assert len(times_of(allowed(document, now=MORNING + late))) == number


def test_beyond_a_day_an_hour_comes_up_on_every_day() -> None:
    reward = {"window_hours": 96, "learn_after_hours": 72}
    document = campaign(
        contents=ONE, horizon_hours=72, send_times={"local_hours": [9], "allow_now": False}, reward=reward
    )
    assert times_of(allowed(document)) == [MORNING + timedelta(days=day) for day in (1, 2, 3)]


# --- what is asked


def test_everything_impossible_about_the_contents_is_said_at_once() -> None:
    own = Content(id="streak", channels=frozenset({"sms", "fax", "push"}))
    with pytest.raises(ImpossibleInput) as caught:
        allowed(campaign(), contents=["gone", "streak", own])

    assert [(error.field, error.message) for error in caught.value.errors] == [
        ("contents.0", "'gone' is not a content of the campaign"),
        ("contents.2", "'streak' appears twice"),
        ("contents.2.channels", "'fax' is not a channel of campaign 'spring'; it has: email, push"),
        ("contents.2.channels", "'sms' is not a channel of campaign 'spring'; it has: email, push"),
    ]


def test_two_thousand_actions_are_decided_among_and_more_are_refused() -> None:
    document = campaign(send_times=NOW_ONLY)
    contents = [Content(id=f"pin-{number}") for number in range(1_001)]

    assert len(allowed(document, contents=contents[:-1])) == 1 + 2_000
    with pytest.raises(ImpossibleInput, match="contents: 2002 actions"):
        allowed(document, contents=contents)


# --- caches


@pytest.mark.parametrize(
    "cached", [eligibility._longest_repeat_hours, eligibility._can_expire, eligibility._offer_rules]
)
def test_a_cache_that_holds_contents_holds_few(cached: Callable[..., Any]) -> None:
    # A request brings contents of its own, which are no other request's: each entry is kept for nothing.
    maxsize = cached.cache_parameters()["maxsize"]  # type: ignore[attr-defined]
    assert maxsize <= 64


def test_equal_cells_are_one_object_however_many_users_they_are_joined_for() -> None:
    document = campaign(caps={"min_gap_hours": 4})
    one, other = (allowed(document, [sent(hours(away))]) for away in (-1, -20))
    shared = {id(cell) for cell in other.cells.eligible}

    assert one.cells is not other.cells
    assert {id(cell) for cell in one.cells.eligible} <= shared
