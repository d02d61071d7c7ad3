"""`features`: the lines, letter by letter. What hostile text does to them is in `tests/property`."""

from datetime import UTC, datetime, timedelta
from math import e, inf, log, nan

import pytest

from bandit.decide import features
from bandit.decide.features import (
    channel_lines,
    content_line,
    features_text,
    new_content_lines,
    shared_line,
    squash,
    time_lines,
    with_features_of,
)
from bandit.domain import Content, Features
from bandit.engine.lines import ActionLines, encode, namespaces
from bandit.sendtimes import SendTime

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("", ""),
        ("Az09_.-", "Az09_.-"),
        ("a b", "a%20b"),
        ("a|b:c", "a%7Cb%3Ac"),
        ("a=b!c~d#e", "a%3Db%21c%7Ed%23e"),
        ("100%", "100%25"),
        ("%25", "%2525"),
        ("\t\r\n", "%09%0D%0A"),
        ("a/b+c", "a%2Fb%2Bc"),
        ("é", "%C3%A9"),
        ("🎉", "%F0%9F%8E%89"),
    ],
)
def test_encoding_keeps_letters_digits_and_three_signs_and_writes_all_else_as_bytes(text: str, encoded: str) -> None:
    assert encode(text) == encoded


@pytest.mark.parametrize(
    ("number", "squashed"),
    [
        (0.0, 0.0),
        (-0.0, 0.0),
        (0.5, 0.5),
        (-0.5, -0.5),
        (1.0, 1.0),
        (-1.0, -1.0),
        (1.5, 1 + log(1.5)),
        (e, 2.0),
        (-e, -2.0),
        (1e15, 1 + 15 * log(10)),
        (1e-20, 1e-20),
        (9.9e-21, 0.0),
        (5e-324, 0.0),
    ],
)
def test_numbers_are_themselves_up_to_1_and_grow_like_their_logarithm_beyond(number: float, squashed: float) -> None:
    assert squash(number) == pytest.approx(squashed, rel=1e-15)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({}, ""),
        ({"country": "US"}, "country=US"),
        ({"premium": True, "new": False}, "premium!true new!false"),
        ({"visits": 1, "share": 0.25, "minus": -1.0}, "visits#:1.0 share#:0.25 minus#:-1.0"),
        ({"topics": ("art", "food")}, "topics~art topics~food"),
        ({"embedding": (0.5, -0.25)}, "embedding#0:0.5 embedding#1:-0.25"),
        ({"b": "2", "a": "1"}, "b=2 a=1"),
    ],
)
def test_each_type_has_its_own_mark(table: Features, text: str) -> None:
    assert features_text(table) == text


def test_the_type_is_told_apart_even_where_python_finds_the_values_equal() -> None:
    for _ in range(2):  # the second time from the cache
        assert [features_text({"a": value}) for value in (True, 1, 1.0)] == ["a!true", "a#:1.0", "a#:1.0"]


@pytest.mark.parametrize("value", [inf, -inf, nan, (0.5, nan)])
def test_a_number_that_is_none_never_reaches_a_line(value: float | tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="it must be finite"):
        features_text({"a": value})


def test_the_shared_line_holds_the_user_and_the_history() -> None:
    assert shared_line({"country": "US"}, {"sent_1d_push": 1.0}) == "shared |U country=US |H sent_1d_push#:1.0"
    assert shared_line({}, {}) == "shared |U  |H "


def test_a_channel_has_a_line() -> None:
    assert channel_lines(("push", "e mail")) == ("|C id=push", "|C id=e%20mail")


def test_a_content_has_a_line_with_its_features_and_how_long_ago_it_was_sent() -> None:
    content = Content(id="streak", features={"kind": "habit"})
    assert content_line(content, 0.5, None) == "|M id=streak kind=habit |R since=lt1 kind_since=never"


@pytest.mark.parametrize(
    ("days", "bucket"),
    [(None, "never"), (0.0, "lt1"), (0.99, "lt1"), (1.0, "lt3"), (2.99, "lt3"), (3.0, "lt7"), (13.0, "lt14")],
)
def test_recency_is_in_buckets_that_start_where_the_one_before_ends(days: float | None, bucket: str) -> None:
    assert content_line(Content(id="a"), days, days) == f"|M id=a  |R since={bucket} kind_since={bucket}"


@pytest.mark.parametrize(("days", "bucket"), [(13.99, "lt14"), (14.0, "older"), (29.99, "older")])
def test_the_last_bucket_is_open(days: float, bucket: str) -> None:
    assert f"since={bucket} " in content_line(Content(id="a"), days, None)


def test_the_lines_of_contents_never_sent_are_those_of_each() -> None:
    contents = (Content(id="a"), Content(id="b", features={"kind": "habit"}))
    assert new_content_lines(contents) == tuple(content_line(one, None, None) for one in contents)


@pytest.mark.parametrize(
    ("ahead", "lead"),
    [
        (timedelta(minutes=1), "lt6"),
        (timedelta(hours=5, minutes=59, seconds=59), "lt6"),
        (timedelta(hours=6), "lt24"),
        (timedelta(hours=23, minutes=59), "lt24"),
        (timedelta(hours=24), "later"),
    ],
)
def test_beyond_a_day_a_time_has_a_line_with_its_hour_its_weekday_and_its_lead_in_buckets(
    ahead: timedelta, lead: str
) -> None:
    first = SendTime(send_at=NOW, local_hour=9, weekday=0, is_now=True)
    then = SendTime(send_at=NOW + ahead, local_hour=18, weekday=6, is_now=False)
    assert time_lines((first, then), NOW, horizon_hours=25) == (
        "|T hour=9 weekday=0 lead=now",
        f"|T hour=18 weekday=6 lead={lead}",
    )


def test_within_a_day_a_time_has_a_line_with_its_hour_alone_and_now_is_a_time_of_its_own() -> None:
    times = [
        SendTime(send_at=NOW + hours * timedelta(hours=1), local_hour=9 + hours, weekday=hours, is_now=hours == 0)
        for hours in (0, 3, 9)
    ]
    assert time_lines(tuple(times), NOW, horizon_hours=24) == ("|T hour=9 lead=now", "|T hour=12", "|T hour=18")


@pytest.mark.parametrize("horizon_hours", [24, 25])
def test_the_only_time_there_is_says_nothing_and_two_say_which(horizon_hours: float) -> None:
    now, later = (SendTime(send_at=NOW, local_hour=9, weekday=0, is_now=is_now) for is_now in (True, False))

    assert time_lines((now,), NOW, horizon_hours=horizon_hours) == ("",)
    assert time_lines((), NOW, horizon_hours=horizon_hours) == ()
    assert len(set(time_lines((now, later), NOW, horizon_hours=horizon_hours))) == 2
    lines = ActionLines(channels=("|C id=p",), contents=("|M id=a",), times=("",), mask="1")
    assert lines.joined() == ("|S silence", "|C id=p |M id=a")


def test_the_lines_of_actions_are_joined_channel_major_for_the_eligible_cells_after_silence() -> None:
    lines = ActionLines(channels=("|C id=p", "|C id=e"), contents=("|M id=a", "|M id=b"), times=("|T 9",), mask="d")
    # d = 1101: cells 0, 2 and 3 of channel x content
    assert lines.joined() == (
        "|S silence",
        "|C id=p |M id=a |T 9",
        "|C id=e |M id=a |T 9",
        "|C id=e |M id=b |T 9",
    )
    assert ActionLines(*lines).joined() is lines.joined()


def test_no_eligible_cell_leaves_the_line_of_silence() -> None:
    assert ActionLines(channels=("|C id=p",), contents=(), times=(), mask="0").joined() == ("|S silence",)


def test_an_embedding_is_not_kept() -> None:
    # 65,000 embeddings of 128 numbers in a cache were 600 MB.
    caches = [cache for cache in vars(features).values() if hasattr(cache, "cache_info")]
    features_text({"vector": (0.0, 0.0)})
    before = [cache.cache_info().currsize for cache in caches]
    for number in range(100):
        features_text({"vector": (number / 7, number / 11)})

    assert [cache.cache_info().currsize for cache in caches] == before


def test_contents_of_requests_are_not_kept_by_the_thousand() -> None:
    assert features.new_content_lines.cache_parameters()["maxsize"] == 64


def test_a_line_is_read_as_the_weights_of_its_features_by_namespace() -> None:
    line = shared_line({"country": "a b", "days": 0.25, "premium": True, "v": (0.5, -2.0)}, {"sent_1d_push": 2.0})
    assert namespaces(line) == {
        "U": {"country=a%20b": 1.0, "days#": 0.25, "premium!true": 1.0, "v#0": 0.5, "v#1": -1.0 - log(2.0)},
        "H": {"sent_1d_push#": 1.0 + log(2.0)},
    }
    assert namespaces("|S silence") == {"S": {"silence": 1.0}}
    assert namespaces("shared |U  |H ") == {}


def test_a_feature_that_stands_twice_in_a_line_has_both_weights() -> None:
    assert namespaces(shared_line({"topics": ("art", "art", "food")}, {})) == {
        "U": {"topics~art": 2.0, "topics~food": 1.0}
    }


def test_a_logged_content_line_takes_other_features_and_keeps_its_recency() -> None:
    logged = content_line(Content(id="a", features={"kind": "x"}), 3.0, None)
    now = Content(id="a", features={"kind": "y", "new": True})
    assert with_features_of(now, logged) == content_line(now, 3.0, None)
    assert with_features_of(now, logged) != content_line(now, None, None)
