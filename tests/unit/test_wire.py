"""The documents of the wire: what goes in and out says what the domain says, all of it."""

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, time, timedelta
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.client import Choice
from bandit.domain import SILENCE, Action, CampaignId, Decision, DecisionId, FeedbackStatus, Policy, Reason
from bandit.errors import InvalidInput
from bandit.learn import labels
from bandit.sendtimes import QuietHours
from bandit.store.sql.schema import metadata
from bandit.wire.campaign import QuarantinedDecision
from bandit.wire.decision import DecisionDocument, action_document, action_of, decision_document, render_decision
from bandit.wire.feedback import FeedbackAnswer, event_of, render_status
from bandit.wire.receipt import Receipt
from bandit.wire.request import UserDocument, request_of
from bandit.wire.service import RemovedRows
from sim.baselines.protocol import Opportunity
from sim.contest.player import Playing
from sim.world.world import START, build_world
from tests.support.wire import decide_document, feedback_document, with_value

instants = st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC))
sends = st.builds(Action, channel=st.text(min_size=1), content=st.text(min_size=1), send_at=instants)
decisions = st.builds(
    Decision,
    id=st.text().map(DecisionId),
    campaign=st.text().map(CampaignId),
    action=sends | st.just(SILENCE),
    propensity=st.floats(1e-9, 1),
    policy=st.sampled_from(Policy),
    model_version=st.integers(0, 2**31 - 1),
    decided_at=instants,
    reward_deadline=instants,
    reason=st.none() | st.sampled_from(Reason),
)


@given(decision=decisions)
@settings(max_examples=100, deadline=None)
def test_the_bytes_of_a_decision_are_its_document(decision: Decision) -> None:
    document = decision_document(decision)
    assert list(document) == list(DecisionDocument.model_fields)
    assert render_decision(decision) == orjson.dumps(document)
    assert action_of(document) == decision.action
    assert action_document(decision.action) == {name: document[name] for name in ("channel", "content", "send_at")}
    assert DecisionDocument.model_validate(document).sent() == document


def test_a_request_says_all_that_its_document_says() -> None:
    document = decide_document()
    asked, user = request_of(document), document["user"]
    assert (asked.campaign, asked.user.id, asked.user.timezone) == ("reengage", "u-123", "America/New_York")
    assert asked.user.channels == frozenset({"push", "email"})
    assert asked.user.quiet_hours == QuietHours(start=time(21), end=time(9, 30))
    assert asked.user.features == {**user["features"], "topics": ("art", "food")}
    assert asked.now == datetime(2026, 11, 20, 17, 3, tzinfo=UTC)
    assert asked.contents is not None
    assert len(asked.contents) == 2
    assert json.loads(asked.body) == document


def test_a_user_has_the_fields_of_its_document() -> None:
    assert {one.name for one in fields(request_of(decide_document()).user)} == set(UserDocument.model_fields)


def test_what_is_wrong_in_a_document_is_said_in_terms_of_json() -> None:
    wrong = with_value(with_value(decide_document(), "user.channels", "push"), "user.quiet_hours", [])
    with pytest.raises(InvalidInput) as raised:
        request_of(wrong)
    assert {error.field: error.message for error in raised.value.errors} == {
        "user.channels": "'push': Input should be a valid array",
        "user.quiet_hours": "Input should be an object",
    }


def test_an_event_says_all_that_its_document_says() -> None:
    event = event_of(feedback_document("d-1"), "k-1")
    assert (event.decision_id, event.event, event.value, event.event_id, event.source) == (
        "d-1",
        "clicked",
        1.0,
        "e-77",
        "k-1",
    )
    assert event.occurred_at == datetime(2026, 11, 20, 23, 11, 9, tzinfo=UTC)


@pytest.mark.parametrize("status", FeedbackStatus)
def test_the_bytes_of_a_status_are_its_document(status: FeedbackStatus) -> None:
    assert render_status(status) == orjson.dumps(FeedbackAnswer(status=status).sent())


def test_a_quarantined_decision_has_one_of_the_learners_reasons() -> None:
    annotation = QuarantinedDecision.model_fields["reason"].annotation
    assert set(get_args(annotation)) == {reason.value for reason in labels.Reason}


def test_what_is_removed_is_counted_by_table() -> None:
    assert set(RemovedRows.model_fields) <= set(metadata.tables)


def test_a_receipt_has_every_field_of_a_decision() -> None:
    assert DecisionDocument.model_fields.keys() <= Receipt.model_fields.keys()


def test_what_the_client_reads_of_a_decision_are_fields_of_it() -> None:
    own = {"failure", "answer"}  # of the client, not of the wire
    assert {one.name for one in fields(Choice)} - own <= DecisionDocument.model_fields.keys()


class Silent:
    """Always silent; keeps the opportunities."""

    def __init__(self) -> None:
        self.asked: list[Opportunity] = []

    def choose(self, opportunity: Opportunity) -> int:
        self.asked.append(opportunity)
        return 0

    def learn(self, outcomes: object) -> None:
        """Learns nothing."""


def offered(quiet_hours: Mapping[str, Any] | None) -> list[datetime]:
    """Send times that a baseline is offered for a user with these quiet hours."""
    world, baseline = build_world(seed=3, n_users=1), Silent()
    user = {**world.user_document(0), "channels": ["push"], "timezone": "UTC"}
    if quiet_hours is not None:
        user["quiet_hours"] = quiet_hours
    request = {"campaign": world.campaign.id, "user": user, "now": (START + timedelta(hours=12)).isoformat()}
    Playing(baseline, world.campaign, learn_every=10).decide_batch([request])
    times = baseline.asked[0].eligible.candidates.times
    cells = baseline.asked[0].eligible.cells.eligible
    return sorted({times[cell.time].send_at for cell in cells})


def test_a_users_quiet_hours_are_kept_in_the_simulation_as_well() -> None:
    everything, kept = offered(None), offered({"start": "15:00", "end": "23:59"})
    assert kept == [one for one in everything if one.hour < 15]
    assert len(kept) < len(everything)
