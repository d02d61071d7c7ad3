"""What is kept of a decision says exactly what it was drawn from, and can be read back."""

import json
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.campaign.document import Campaign
from bandit.decide.decision import DecisionRecord, LiveCampaign, Model, decide
from bandit.decide.exploration import draw, draw_number
from bandit.decide.history import NO_HISTORY, History, Send
from bandit.decide.logged import actions_digest, decode_actions, encode_actions, encode_evidence
from bandit.domain import SILENCE, Action, Content, DecideRequest, DecisionId
from bandit.engine.lines import ActionLines
from bandit.sendtimes import QuietHours
from bandit.times import utc_text
from bandit.wire.decision import action_document
from tests.support.builders import MORNING, campaign, request


class Even:
    """A predictor that prefers nothing."""

    def predict(self, shared: str, actions: ActionLines) -> list[float]:
        return [1.0] * len(actions.joined())


def record(
    asked: DecideRequest | None = None, *, document: Campaign | None = None, history: History = NO_HISTORY
) -> DecisionRecord:
    asked = asked or request()
    return decide(
        LiveCampaign(document=document or campaign(), version=1, paused=False),
        asked,
        history,
        Model(version=0, predictor=Even()),
        decision_id=DecisionId("01KJPWD6M0YPRPA8JAB2VS3WER"),
        now=asked.now or MORNING,
    )


def evidence(one: DecisionRecord) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(encode_evidence(one))
    return document


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (MORNING, "2026-03-02T09:00:00Z"),
        (MORNING + timedelta(microseconds=1), "2026-03-02T09:00:00.000001Z"),
        (datetime(2026, 3, 2, 14, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))), "2026-03-02T09:00:00Z"),
    ],
)
def test_an_instant_is_written_in_utc_and_reads_back_as_the_same(instant: datetime, text: str) -> None:
    assert utc_text(instant) == text
    assert datetime.fromisoformat(text) == instant


def test_an_action_is_shown_by_channel_content_and_instant_and_silence_by_none_of_them() -> None:
    action = Action(channel="push", content="streak", send_at=MORNING)
    assert action_document(action) == {"channel": "push", "content": "streak", "send_at": "2026-03-02T09:00:00Z"}
    assert action_document(SILENCE) == {"channel": None, "content": None, "send_at": None}


texts = st.text(min_size=1, max_size=12)
contents = st.lists(st.builds(Content, id=texts, features=st.dictionaries(texts, texts, max_size=2)), max_size=4)
hours = st.builds(time, st.integers(0, 23))


@given(
    contents=contents,
    channels=st.sets(st.sampled_from(["push", "email"])),
    quiet=st.builds(QuietHours, start=hours, end=hours),
)
def test_the_stored_actions_read_back_as_those_that_were_drawn_from(
    contents: list[Content], channels: set[str], quiet: QuietHours
) -> None:
    unique = {content.id: content for content in contents}
    one = record(request(channels=channels, quiet_hours=quiet, contents=list(unique.values())))
    logged = decode_actions(encode_actions(one))
    places = range(len(one.pmf))
    assert [logged.action(place) for place in places] == [one.eligible.action(place) for place in places]
    assert (logged.shared_line, logged.action_lines) == (one.shared_line, one.action_lines)
    assert len(logged.action_lines.joined()) == len(one.pmf)


def test_silence_alone_is_an_eligible_set_too() -> None:
    logged = decode_actions(encode_actions(record(request(channels=[]))))
    assert logged.action(0) == SILENCE
    assert logged.action_lines.joined() == ("|S silence",)


def test_equal_sets_give_equal_text_and_equal_digests() -> None:
    one, other = (encode_actions(record(request("u-1"))), encode_actions(record(request("u-2"))))
    assert one == other
    assert actions_digest(one) == actions_digest(other)
    assert len(actions_digest(one)) == 16


@pytest.mark.parametrize(
    "other",
    [
        request(features={"country": "US"}),
        request(now=MORNING + timedelta(minutes=1)),
        request(channels=["push"]),
        request(contents=["streak", "digest"]),
        request(contents=["digest", "streak", "offer"]),
        request(contents=["streak", "digest", Content(id="offer", features={"kind": "habit"})]),
    ],
    ids=["shared line", "instants", "mask", "fewer contents", "order", "content line"],
)
def test_any_other_set_or_line_gives_another_digest(other: DecideRequest) -> None:
    assert actions_digest(encode_actions(record(other))) != actions_digest(encode_actions(record()))


def test_the_evidence_keeps_the_request_as_it_was_received() -> None:
    asked = request()
    received = '{"campaign":"spring",  "user":{"id":"ü","timezone":"UTC","features":{"n":1.50,"n2":1e3}}}'
    kept = encode_evidence(
        record(DecideRequest(campaign=asked.campaign, user=asked.user, now=asked.now, body=received))
    )
    assert received in kept
    assert json.loads(kept)["request"]["user"]["id"] == "ü"


def test_the_evidence_counts_what_each_rule_blocked_and_shows_the_first() -> None:
    quiet = QuietHours(start=time(17), end=time(20))
    blocked = evidence(record(request(channels=["email"], quiet_hours=quiet)))["blocked"]
    assert blocked == {
        "unreachable": {
            "count": 9,
            "example": {"channel": "push", "content": "streak", "send_at": "2026-03-02T09:00:00Z"},
        },
        "quiet_hours": {
            "count": 3,
            "example": {"channel": "email", "content": "streak", "send_at": "2026-03-02T18:00:00Z"},
        },
    }


def test_the_evidence_shows_the_history_as_the_model_saw_it() -> None:
    sent = Send(decision_id="d", channel="push", content="streak", kind="habit", send_at=MORNING - timedelta(days=2))
    one = record(history=History(sends=(sent,)))
    assert evidence(one)["history"] == dict(one.history_features)
    assert evidence(one)["history"]["sent_7d_push"] == 1.0
    assert evidence(record())["history"] == {}


def test_anyone_can_repeat_the_draw_from_the_evidence() -> None:
    one = record()
    kept = evidence(one)["draw"]
    assert draw_number(kept["salt"], one.decision.id) == kept["number"] == one.draw_number
    assert draw(one.pmf, kept["number"]) == one.action_index


def test_in_shadow_mode_the_evidence_holds_what_the_learned_policy_would_have_drawn_from() -> None:
    baseline = {"channel": "push", "content": "streak", "local_hour": 18}
    one = record(document=campaign(mode="shadow", policy={"baseline": baseline}))
    assert one.decision.action == Action(channel="push", content="streak", send_at=datetime(2026, 3, 2, 18, tzinfo=UTC))
    assert one.decision.propensity == 1.0
    assert evidence(one)["learned_pmf"] == pytest.approx([1 / 19] * 19)
    assert "learned_pmf" not in evidence(record())
