"""`policies`: who decides, and what the baseline is."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import sqrt
from typing import Any

import pytest

from bandit.campaign.document import Campaign
from bandit.decide.eligibility import EligibleSet, eligible_set
from bandit.decide.exploration import draw_number
from bandit.decide.history import History, Send
from bandit.decide.policies import assigned_policy, baseline_index
from bandit.domain import Policy, UserId
from bandit.sendtimes import zone
from tests.support.builders import MORNING, campaign, request

USERS = [UserId(f"u-{number}") for number in range(100_000)]
BASELINE = {"channel": "push", "content": "streak", "local_hour": 18}


def with_shares(uniform: float, no_send: float, **changes: Any) -> Campaign:
    return campaign(policy={"uniform_holdout": uniform, "no_send_holdout": no_send}, **changes)


def members(document: Campaign, policy: Policy, users: Sequence[UserId] = USERS) -> set[UserId]:
    return {user for user in users if assigned_policy(document, user) is policy}


def tolerance(share: float, number: int) -> float:
    """Six standard deviations of a binomial count."""
    return 6 * sqrt(number * share * (1 - share))


# --- holdouts


@pytest.mark.parametrize(("uniform", "no_send"), [(0.05, 0.01), (0.5, 0.5), (0.0, 0.1), (0.2, 0.0)])
def test_holdouts_have_their_shares(uniform: float, no_send: float) -> None:
    document = with_shares(uniform, no_send)
    counts = {policy: len(members(document, policy)) for policy in Policy}

    assert abs(counts[Policy.UNIFORM_HOLDOUT] - uniform * len(USERS)) <= tolerance(uniform, len(USERS))
    assert abs(counts[Policy.NO_SEND_HOLDOUT] - no_send * len(USERS)) <= tolerance(no_send, len(USERS))
    rest = counts[Policy.UNIFORM_HOLDOUT] + counts[Policy.NO_SEND_HOLDOUT] + counts[Policy.LEARNED]
    assert rest == len(USERS)


def test_a_user_stays_where_the_hash_puts_them_whatever_else_changes() -> None:
    before = with_shares(0.2, 0.1)
    after = with_shares(0.2, 0.1, mode="live", contents=[{"id": "other"}], horizon_hours=12)
    users = USERS[:5_000]

    assert [assigned_policy(before, user) for user in users] == [assigned_policy(after, user) for user in users]


def test_membership_is_the_published_hash_of_campaign_and_user() -> None:
    document = with_shares(0.2, 0.1)
    for user in USERS[:1_000]:
        place = draw_number("holdout:spring", user)
        assert (assigned_policy(document, user) is Policy.NO_SEND_HOLDOUT) is (place < 0.1)
        assert (assigned_policy(document, user) is Policy.UNIFORM_HOLDOUT) is (place >= 0.8)


def test_two_campaigns_hold_out_users_independently() -> None:
    share = 0.2
    one, other = (members(with_shares(0.0, share, id=name), Policy.NO_SEND_HOLDOUT) for name in ("spring", "autumn"))

    assert abs(len(one & other) - share**2 * len(USERS)) <= tolerance(share**2, len(USERS))


@pytest.mark.parametrize(
    ("uniform", "no_send"), [(0.2, 0.3), (0.2, 0.05), (0.6, 0.1), (0.05, 0.1), (0.0, 0.1), (0.2, 0.0)]
)
def test_changing_one_share_moves_nobody_between_the_holdouts_nor_within_the_other(
    uniform: float, no_send: float
) -> None:
    users = USERS[:20_000]
    before, after = with_shares(0.2, 0.1), with_shares(uniform, no_send)
    unchanged = Policy.UNIFORM_HOLDOUT if uniform == 0.2 else Policy.NO_SEND_HOLDOUT
    changed = Policy.NO_SEND_HOLDOUT if uniform == 0.2 else Policy.UNIFORM_HOLDOUT

    assert members(before, unchanged, users) == members(after, unchanged, users)
    old, new = members(before, changed, users), members(after, changed, users)
    assert old < new or new < old


def test_shares_laid_out_one_after_the_other_would_move_users_between_the_holdouts() -> None:
    def in_a_row(user: UserId, uniform: float, no_send: float) -> Policy | None:
        place = draw_number("holdout:spring", user)
        if place < no_send:
            return Policy.NO_SEND_HOLDOUT
        return Policy.UNIFORM_HOLDOUT if place < no_send + uniform else None

    before, after = ([in_a_row(user, 0.2, no_send) for user in USERS[:1_000]] for no_send in (0.1, 0.3))
    assert (Policy.UNIFORM_HOLDOUT, Policy.NO_SEND_HOLDOUT) in set(zip(before, after, strict=True))


def test_without_holdouts_the_mode_says_who_decides() -> None:
    live, shadow = campaign(), campaign(mode="shadow", policy={"baseline": BASELINE})

    assert {assigned_policy(live, user) for user in USERS[:100]} == {Policy.LEARNED}
    assert {assigned_policy(shadow, user) for user in USERS[:100]} == {Policy.BASELINE}


def test_holdouts_are_the_same_users_in_shadow_mode() -> None:
    live = with_shares(0.2, 0.1)
    policy = {"uniform_holdout": 0.2, "no_send_holdout": 0.1, "baseline": BASELINE}
    shadow = campaign(mode="shadow", policy=policy)

    for holdout in (Policy.UNIFORM_HOLDOUT, Policy.NO_SEND_HOLDOUT):
        assert members(live, holdout, USERS[:2_000]) == members(shadow, holdout, USERS[:2_000])


# --- baseline


def eligible_of(document: Campaign, *past: Send, now: datetime = MORNING, **asked: Any) -> EligibleSet:
    return eligible_set(document, request(now=now, **asked), History(sends=past), now=now, local=zone("UTC"))


def test_the_baseline_is_its_channel_content_and_hour() -> None:
    document = campaign(policy={"baseline": BASELINE})
    eligible = eligible_of(document)

    action = eligible.action(baseline_index(document, eligible))
    assert (action.channel, action.content, action.send_at) == ("push", "streak", MORNING + timedelta(hours=9))


def test_a_baseline_without_an_hour_is_sent_now() -> None:
    document = campaign(policy={"baseline": {"channel": "email", "content": "digest"}})
    eligible = eligible_of(document, now=MORNING + timedelta(hours=3))  # it is noon, one of the local hours

    action = eligible.action(baseline_index(document, eligible))
    assert (action.channel, action.content, action.send_at) == ("email", "digest", MORNING + timedelta(hours=3))


def test_now_is_not_the_baselines_hour_even_when_the_clock_reads_it() -> None:
    document = campaign(policy={"baseline": {**BASELINE, "local_hour": 12}})
    eligible = eligible_of(document, now=MORNING + timedelta(hours=3))

    tomorrow = datetime(2026, 3, 3, 12, tzinfo=UTC)
    assert eligible.action(baseline_index(document, eligible)).send_at == tomorrow


def test_the_baselines_hour_is_the_first_of_several_days() -> None:
    document = campaign(horizon_hours=48, reward={"learn_after_hours": 48}, policy={"baseline": BASELINE})
    eligible = eligible_of(document)

    assert eligible.action(baseline_index(document, eligible)).send_at == MORNING + timedelta(hours=9)


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ({"channels": ["email"]}, {}),
        ({"contents": ["digest"]}, {}),
        ({}, {"send_times": {"quiet_hours": {"start": "18:00", "end": "19:00"}}}),
        ({}, {"horizon_hours": 8}),
    ],
)
def test_a_baseline_that_the_rules_block_is_silence(asked: dict[str, Any], changes: dict[str, Any]) -> None:
    document = campaign(policy={"baseline": BASELINE}, **changes)
    assert baseline_index(document, eligible_of(document, **asked)) == 0


def test_without_a_baseline_it_is_silence() -> None:
    assert baseline_index(campaign(), eligible_of(campaign())) == 0
