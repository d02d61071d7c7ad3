"""`history`: counters and recency, worked out by hand."""

from datetime import datetime, timedelta

import pytest

from bandit.decide.history import NO_HISTORY, History, Response, Send
from tests.support.builders import MORNING as NOW

TICK = timedelta(microseconds=1)


def days(number: float) -> timedelta:
    return timedelta(days=number)


def sent(away: timedelta, channel: str = "push", content: str = "streak", kind: str | None = "habit") -> Send:
    """A send that far from now; negative: in the past. Its decision is named by that."""
    return Send(decision_id=f"d{away}", channel=channel, content=content, kind=kind, send_at=NOW + away)


def answered(send: Send, away: timedelta) -> Response:
    return Response(decision_id=send.decision_id, occurred_at=NOW + away)


def history(*sends: Send, responses: tuple[Response, ...] = ()) -> History:
    return History(sends=tuple(sorted(sends, key=lambda send: send.send_at)), responses=responses)


def test_a_user_without_a_past_has_no_features() -> None:
    assert NO_HISTORY.features(NOW) == {}
    assert NO_HISTORY.days_since_contents(NOW) == NO_HISTORY.days_since_kinds(NOW) == {}


def test_sends_are_counted_per_channel_in_1_7_and_30_days() -> None:
    past = history(
        sent(-days(29), "email"),
        sent(-days(8), "push"),
        sent(-days(6), "email"),
        sent(-days(2), "push"),
        sent(-days(0.5), "push"),
    )

    assert past.features(NOW) == {
        "sent_30d_email": 2.0,
        "sent_30d_push": 3.0,
        "sent_7d_email": 1.0,
        "sent_7d_push": 2.0,
        "sent_1d_push": 1.0,
        "ignored_streak": 5.0,
        "responses_30d": 0.0,
    }


@pytest.mark.parametrize(("window", "name"), [(1, "sent_1d_push"), (7, "sent_7d_push"), (30, "sent_30d_push")])
def test_a_window_ends_exactly_its_days_ago(window: int, name: str) -> None:
    assert name not in history(sent(-days(window))).features(NOW)
    assert history(sent(TICK - days(window))).features(NOW)[name] == 1.0


def test_a_reserved_send_ahead_counts_as_sent_but_is_not_ignored_yet() -> None:
    features = history(sent(days(0.5)), sent(days(3), "email")).features(NOW)

    assert features == {
        **{f"sent_{window}d_{channel}": 1.0 for window in (1, 7, 30) for channel in ("push", "email")},
        "ignored_streak": 0.0,
        "responses_30d": 0.0,
    }


def test_the_ignored_streak_is_the_latest_sends_without_a_response() -> None:
    first, second, third, fourth = (sent(-days(number)) for number in (5, 4, 3, 2))

    def streak(*responses: Response) -> float:
        return history(first, second, third, fourth, sent(days(1)), responses=responses).features(NOW)["ignored_streak"]

    assert streak() == 4.0
    assert history(sent(timedelta(0)), sent(TICK)).features(NOW)["ignored_streak"] == 1.0
    assert streak(answered(first, -days(4.9))) == 3.0
    assert streak(answered(first, -days(4.9)), answered(third, -days(0.1))) == 1.0
    assert streak(answered(fourth, timedelta(0))) == 0.0
    assert streak(answered(fourth, TICK)) == 4.0  # not known yet


def test_responses_count_for_30_days_and_only_once_they_happened() -> None:
    send = sent(-days(1))
    aways = (-days(30), TICK - days(30), -days(3), timedelta(0), TICK)
    responses = tuple(answered(send, away) for away in aways)

    assert history(send, responses=responses).features(NOW)["responses_30d"] == 3.0


def test_a_response_to_silence_is_a_history_too() -> None:
    features = History(responses=(Response(decision_id="silent", occurred_at=NOW - days(2)),)).features(NOW)
    assert features == {"ignored_streak": 0.0, "responses_30d": 1.0}


def test_days_since_a_content_and_since_its_kind_are_to_the_latest_send() -> None:
    past = history(
        sent(-days(9), content="streak", kind="habit"),
        sent(-days(4.5), content="streak", kind="habit"),
        sent(-days(3), content="badge", kind="habit"),
        sent(-days(2), content="plain", kind=None),
    )

    assert past.days_since_contents(NOW) == {"streak": 4.5, "badge": 3.0, "plain": 2.0}
    assert past.days_since_kinds(NOW) == {"habit": 3.0}


def test_a_content_that_is_reserved_ahead_was_sent_0_days_ago() -> None:
    past = history(sent(-days(9)), sent(days(1)))

    assert past.days_since_contents(NOW) == {"streak": 0.0}
    assert past.days_since_kinds(NOW) == {"habit": 0.0}


def model_sees(past: History, now: datetime) -> tuple[object, ...]:
    return past.features(now), past.days_since_contents(now), past.days_since_kinds(now)


def test_the_features_do_not_depend_on_how_far_back_the_history_was_read() -> None:
    older = [sent(-days(number), content="old", kind="offer") for number in (400, 31, 30)]
    recent = [sent(TICK - days(30)), sent(-days(3))]
    response, old_response = answered(recent[-1], -days(2)), answered(older[0], -days(399))

    short = history(*recent, responses=(response,))
    long = history(*older, *recent, responses=(old_response, response))
    assert model_sees(long, NOW) == model_sees(short, NOW)
    assert model_sees(history(*older, responses=(old_response,)), NOW) == model_sees(NO_HISTORY, NOW)


def test_a_history_with_one_more_send_is_in_order_and_leaves_the_other_as_it_was() -> None:
    early, late, between = sent(-days(2)), sent(days(2)), sent(days(1))
    before = history(early, late, responses=(answered(early, -days(1)),))

    after = before.with_send(between)
    assert after.sends == (early, between, late)
    assert after.responses == before.responses
    assert before.sends == (early, late)
