"""The campaign document: what it may say, and what is wrong with it by path and rule."""

import json
from datetime import UTC, datetime, time
from typing import Any

import pytest

from bandit.campaign.checks import parse_campaign, parse_campaign_toml
from bandit.campaign.document import Campaign
from bandit.errors import InvalidInput
from bandit.sendtimes import ALL_DAY, QuietHours
from tests.support.wire import CAMPAIGN_TOML, campaign_document, with_value, without

SMALLEST: dict[str, Any] = {"id": "c", "channels": {"push": {}}, "reward": {"window_hours": 24, "bounds": [0, 1]}}


def parsed(document: dict[str, Any]) -> Campaign:
    return parse_campaign(json.dumps(document))


def contents_numbered(number: int) -> list[dict[str, Any]]:
    return [{"id": f"content-{place}"} for place in range(number)]


def fields_wrong_in(document: dict[str, Any]) -> dict[str, str]:
    """Messages by field."""
    with pytest.raises(InvalidInput) as caught:
        parsed(document)
    errors = {error.field: error.message for error in caught.value.errors}
    assert len(errors) == len(caught.value.errors)
    return errors


def test_the_contracts_toml_is_the_same_campaign_as_its_json() -> None:
    assert parse_campaign_toml(CAMPAIGN_TOML) == parsed(campaign_document())


def test_the_contracts_campaign_is_read_as_it_says() -> None:
    campaign = parse_campaign_toml(CAMPAIGN_TOML)
    assert (campaign.id, campaign.horizon_hours, campaign.mode) == ("reengage", 24.0, "live")
    assert {name: channel.cost for name, channel in campaign.channels.items()} == {"push": 0.01, "email": 0.005}
    cap = campaign.channels["push"].cap
    assert cap is not None
    assert (cap.count, cap.hours) == (2, 24.0)
    assert campaign.caps.cap is not None
    assert (campaign.caps.cap.count, campaign.caps.cap.hours, campaign.caps.min_gap_hours) == (3, 24.0, 4.0)
    assert campaign.send_times.local_hours == (8, 12, 18, 20)
    assert campaign.quiet_hours == QuietHours(start=time(22), end=time(8))
    assert campaign.reward.learn_hours == 26.0
    assert campaign.reward.events["unsubscribed"] == -5.0
    streak = campaign.catalogue["streak"]
    assert streak.channels == frozenset({"push"})
    assert streak.expires_at == datetime(2027, 1, 1, tzinfo=UTC)
    assert "--squarecb" in campaign.engine_arguments.text


@pytest.mark.parametrize(
    ("reward", "unit"),
    [
        ({"bounds": [-5, 5], "events": {"opened": 1, "bought": 4, "left": -5}}, 4.0),
        ({"bounds": [-5, 5], "events": {"left": -5}}, 5.0),
        ({"bounds": [-10, 200]}, 200.0),
        ({"bounds": [0, 1e-9]}, 1e-6),
    ],
)
def test_the_defaults_of_exploration_and_learning_follow_what_an_event_is_worth(
    reward: dict[str, Any], unit: float
) -> None:
    text = parsed({**SMALLEST, "reward": {"window_hours": 24, **reward}}).engine_arguments.text
    assert f"--gamma_scale {1000.0 / unit!r} " in text
    assert f"--spread {0.3 * unit!r} " in text


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, 0.1),  # contents come with the requests
        ({"contents": contents_numbered(24)}, 0.03),
        ({"contents": contents_numbered(25)}, 0.1),
        ({"contents": contents_numbered(4), "send_times": {"local_hours": [9, 12, 18], "allow_now": False}}, 0.03),
        ({"contents": contents_numbered(6), "send_times": {"local_hours": [9, 12, 18], "allow_now": True}}, 0.03),
        ({"contents": contents_numbered(7), "send_times": {"local_hours": [9, 12, 18], "allow_now": True}}, 0.1),
        (
            {"contents": contents_numbered(9), "send_times": {"local_hours": [9], "allow_now": False}}
            | {"horizon_hours": 72, "reward": {"window_hours": 72, "bounds": [0, 1]}},
            0.1,
        ),
        ({"contents": contents_numbered(2), "policy": {"vw": {"explorer": "regcb"}}}, 0.03),
        ({"contents": contents_numbered(2), "policy": {"vw": {"learning_rate": 0.2}}}, 0.2),
    ],
)
def test_the_default_learning_rate_is_lower_where_there_are_few_ways_to_send(
    changes: dict[str, Any], rate: float
) -> None:
    assert f"--learning_rate {rate!r} " in parsed({**SMALLEST, **changes}).engine_arguments.text


@pytest.mark.parametrize("vw", [{"coin": True}, {"explorer": "epsilon"}])
def test_coin_betting_is_given_no_learning_rate(vw: dict[str, Any]) -> None:
    text = parsed({**SMALLEST, "contents": contents_numbered(2), "policy": {"vw": vw}}).engine_arguments.text
    assert "--coin " in text
    assert "learning_rate" not in text


def test_what_the_document_says_goes_before_what_follows_from_its_rewards() -> None:
    rewards = {"window_hours": 24, "bounds": [0, 50], "events": {"bought": 50}}
    text = parsed({**SMALLEST, "reward": rewards, "policy": {"vw": {"gamma_scale": 7, "spread": 2}}})
    assert "--gamma_scale 7.0 " in text.engine_arguments.text
    assert "--spread 2.0 " in text.engine_arguments.text


def test_the_smallest_document_has_defaults_for_the_rest() -> None:
    campaign = parsed(SMALLEST)
    assert (campaign.horizon_hours, campaign.mode, campaign.contents) == (24.0, "live", ())
    assert campaign.send_times.allow_now
    assert campaign.reward.learn_hours == 24.0
    assert campaign.caps.cap is None
    assert campaign.quiet_hours == QuietHours(start=time(21), end=time(8))
    assert campaign.consent == "required"


def with_times(**send_times: Any) -> Campaign:
    return parsed({**SMALLEST, "send_times": send_times})


def test_sending_at_once_is_allowed_where_no_hours_are_named_or_where_it_is_said() -> None:
    given: list[dict[str, Any]] = [{}, {"local_hours": []}, {"local_hours": [9]}]
    found = [with_times(**one).send_times.allow_now for one in given]
    assert found == [True, True, False]
    assert with_times(local_hours=[9], allow_now=True).send_times.allow_now


def test_quiet_hours_are_a_window_or_one_of_two_words() -> None:
    assert with_times(quiet_hours="none").quiet_hours is None
    assert with_times(quiet_hours="all_day").quiet_hours == ALL_DAY
    for end in ("24:00", "00:00"):
        late = with_times(quiet_hours={"start": "22:00", "end": end}).quiet_hours
        assert late == QuietHours(start=time(22), end=time(0))
    assert with_times(quiet_hours={"start": "00:00", "end": "24:00"}).quiet_hours == ALL_DAY


@pytest.mark.parametrize("at", ["00:00", "12:00", "23:59"])
def test_a_window_that_ends_when_it_starts_is_refused_with_the_words_for_both_wishes(at: str) -> None:
    wrong = {**SMALLEST, "send_times": {"quiet_hours": {"start": at, "end": at}}}
    message = f'start and end are both {at}: say "none" where no hour is quiet, "all_day" where every hour is'
    assert fields_wrong_in(wrong) == {"send_times.quiet_hours": message}


@pytest.mark.parametrize("wrong", ["never", "", 21, True, [], None])
def test_other_quiet_hours_are_refused_by_their_name(wrong: object) -> None:
    errors = fields_wrong_in({**SMALLEST, "send_times": {"quiet_hours": wrong}})
    assert set(errors) == {"send_times.quiet_hours"}


def test_canonical_text_is_read_as_the_same_campaign_and_written_the_same() -> None:
    features = {"t": ["a", "b"], "e": [1, 2.5], "none": [], "n": 3, "x": 0.5, "b": True, "s": "ü\u2028"}
    campaign = parsed(with_value(campaign_document(), "contents.0.features", features))
    again = parse_campaign(campaign.to_json())
    assert again == campaign
    assert again.to_json() == campaign.to_json()
    assert json.loads(campaign.to_json())["contents"][0]["features"] == features


def test_a_toml_date_and_time_serves_as_an_instant() -> None:
    quoted = parse_campaign_toml(CAMPAIGN_TOML)
    bare = parse_campaign_toml(CAMPAIGN_TOML.replace('"2027-01-01T00:00:00Z"', "2027-01-01T00:00:00Z"))
    assert bare == quoted


@pytest.mark.parametrize(
    "text",
    [
        "id = ",
        "\0",
        "id = 'a'\nid = 'b'",
        f"id = {'9' * 5_000}",
        f"id = 0x{'f' * 5_000}",
        f"id = {'[' * 5_000}{']' * 5_000}",
        "id = 1979-13-01T00:00:00Z",
    ],
    ids=["cut", "nul", "twice", "digits", "hexadecimal", "deep", "no date"],
)
def test_what_is_not_toml_is_said_in_one_error(text: str) -> None:
    with pytest.raises(InvalidInput, match="document: is not TOML"):
        parse_campaign_toml(text)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", ""),
        ("id", "a/b"),
        ("id", "a\nb"),
        ("id", "x" * 129),
        ("id", None),
        ("horizon_hours", 0),
        ("horizon_hours", 24 * 28 + 1),
        ("horizon_hours", float("nan")),
        ("horizon_hours", float("inf")),
        ("horizon_hours", "24"),
        ("horizon_hours", True),
        ("mode", "loud"),
        ("channels", {}),
        ("channels", []),
        ("channels", {f"c{number}": {} for number in range(51)}),
        ("channels.push.cost", -0.01),
        ("channels.push.cost", 10**400),
        ("channels.push.cap", {"count": 1}),
        ("channels.push.cap.count", 0),
        ("channels.push.cap.count", 2.0),
        ("channels.push.cap.count", "2"),
        ("channels.push.cap.count", True),
        ("channels.push.cap.hours", 0),
        ("channels.push.cap.hours", 24 * 366 + 1),
        ("caps.count", 0),
        ("caps.min_gap_hours", -1),
        ("contents", {}),
        ("contents", ["streak"]),
        ("contents.0.id", ""),
        ("contents.0.channels", []),
        ("contents.0.repeat_after_hours", 0),
        ("contents.0.expires_at", "2027-01-01T00:00:00"),
        ("contents.0.expires_at", "1763658180"),
        ("contents.0.expires_at", 1763658180),
        ("contents.0.features", {f"f{number}": 1 for number in range(201)}),
        ("send_times.local_hours", [24]),
        ("send_times.local_hours", [8.5]),
        ("send_times.local_hours", [*range(24), 0]),
        ("send_times.allow_now", 1),
        ("send_times.quiet_hours", {"start": "22:00"}),
        ("send_times.quiet_hours.start", "24:00"),
        ("send_times.quiet_hours.end", "8:00"),
        ("reward.window_hours", 0),
        ("reward.bounds", [0]),
        ("reward.bounds", [0, 1, 2]),
        ("reward.bounds", [0, float("inf")]),
        ("reward.bounds", "01"),
        ("reward.bounds", [1, 1]),
        ("reward.bounds", [5, -5]),
        ("reward.default", 5.1),
        ("reward.events", {"reward": 1}),
        ("reward.events", {"failed": 1}),
        ("reward.events.clicked", 5.1),
        ("reward.events.clicked", "1"),
        ("reward.events", {f"e{number}": 0 for number in range(101)}),
        ("reward.window_hours", 23.9),
        ("reward.learn_after_hours", 23.9),
        ("reward.learn_after_hours", 48.1),
        ("policy.floor", 0),
        ("policy.floor", 1.1),
        ("policy.uniform_holdout", -0.1),
        ("policy.uniform_holdout", 1.1),
        ("policy.baseline", {}),
        ("policy.baseline.channel", "fax"),
        ("policy.baseline.content", "nope"),
        ("policy.baseline.local_hour", 9),
        ("policy.baseline.local_hour", 24),
        ("policy.vw", []),
        ("policy.vw.explorer", "magic"),
        ("policy.vw.explorer", ["squarecb"]),
        ("policy.vw.explorer", None),
        ("policy.vw.gamma_scale", "1000"),
        ("policy.vw.gamma_scale", float("nan")),
        ("policy.vw.bits", 10**30),
        ("policy.vw.--cb_type", "ips"),
    ],
)
def test_what_is_wrong_is_said_by_its_path(path: str, value: Any) -> None:
    document = with_value(campaign_document(), path, value)
    assert any(
        field == path or field.startswith(path + ".") or path.startswith(field + ".") for field in named(document)
    )


def named(document: dict[str, Any]) -> list[str]:
    return list(fields_wrong_in(document))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"reward.events": {"clicked": 9.0, "opened": 0.0, "gone": -9.0}},
            {"reward.events.clicked", "reward.events.gone"},
        ),
        ({"reward.bounds": [1.0, 2.0], "reward.events": {}}, {"reward.default"}),
        (
            {"reward.window_hours": 12, "reward.learn_after_hours": 13},
            {"reward.window_hours", "reward.learn_after_hours"},
        ),
        ({"contents.0.channels": ["fax", "pager"]}, {"contents.0.channels", "policy.baseline.content"}),
        ({"channels": {"sms": {}}}, {"contents.0.channels", "policy.baseline.channel"}),
        ({"policy.vw": {"explorer": "squarecb", "a": 1, "bits": 1}}, {"policy.vw.a", "policy.vw.bits"}),
        ({"horizon_hours": 0, "mode": 1, "surprise": 1}, {"horizon_hours", "mode", "surprise"}),
        ({"channels.push.cost": "1", "channels.email.cost": -1}, {"channels.push.cost", "channels.email.cost"}),
    ],
    ids=lambda value: "" if isinstance(value, set) else ",".join(value),
)
def test_several_wrong_things_are_said_at_once(changes: dict[str, Any], expected: set[str]) -> None:
    document = campaign_document()
    for path, value in changes.items():
        document = with_value(document, path, value)
    with pytest.raises(InvalidInput) as caught:
        parsed(document)
    assert {error.field for error in caught.value.errors} == expected


def test_a_message_gives_the_value_and_the_rule() -> None:
    message = fields_wrong_in(with_value(campaign_document(), "reward.events.clicked", 9.0))["reward.events.clicked"]
    assert message == "9.0: is outside the bounds [-5.0, 5.0]"


def test_content_ids_may_not_repeat() -> None:
    contents = [{"id": "streak", "channels": ["push"]}, {"id": "streak"}]
    assert named(campaign_document(contents=contents)) == ["contents.1.id"]


def test_a_cap_over_all_channels_needs_both_count_and_hours() -> None:
    assert named(without(campaign_document(), "caps.hours")) == ["caps"]
    assert named(without(campaign_document(), "caps.count")) == ["caps"]
    assert parsed(campaign_document(caps={"min_gap_hours": 1})).caps.cap is None


def test_there_must_be_some_time_to_send_at() -> None:
    assert named(campaign_document(send_times={"allow_now": False})) == ["send_times"]


def test_a_local_hour_may_not_repeat() -> None:
    assert named(with_value(campaign_document(), "send_times.local_hours", [8, 18, 8])) == ["send_times"]


def test_the_holdouts_together_are_at_most_everybody() -> None:
    assert named(with_value(campaign_document(), "policy.uniform_holdout", 0.995)) == ["policy"]
    assert parsed(with_value(campaign_document(), "policy.uniform_holdout", 0.99))


def test_shadow_mode_needs_a_baseline() -> None:
    assert named(without(campaign_document(mode="shadow"), "policy.baseline")) == ["policy.baseline"]


def test_a_baseline_must_be_offered_on_its_channel() -> None:
    assert named(with_value(campaign_document(), "policy.baseline.channel", "email")) == ["policy.baseline.content"]


def test_a_baseline_without_an_hour_is_now_and_needs_now_to_be_allowed() -> None:
    document = without(campaign_document(), "policy.baseline.local_hour")
    assert parsed(document)
    assert named(with_value(document, "send_times.allow_now", False)) == ["policy.baseline.local_hour"]


@pytest.mark.parametrize("document", ["", "{", "[]", "null", "1", '"x"', "\ufeff{}", '{"id": "\\ud800"}'])
def test_what_is_no_json_object_is_said(document: str) -> None:
    with pytest.raises(InvalidInput, match="body"):
        parse_campaign(document)


@pytest.mark.parametrize("instant", ["1970-01-01T00:00:00Z", "2199-12-31T23:59:59.999999Z", "2027-01-01t00:00:00z"])
def test_instants_are_rfc_3339_within_the_calendar(instant: str) -> None:
    campaign = parsed(with_value(campaign_document(), "contents.0.expires_at", instant))
    assert campaign.catalogue["streak"].expires_at == datetime.fromisoformat(instant.upper())
