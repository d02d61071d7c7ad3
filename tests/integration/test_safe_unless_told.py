"""Safe unless told otherwise: no send at night, none at once, none without consent, unless the campaign says so."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, time
from typing import Any

import pytest
from alembic import command
from flask.testing import FlaskClient
from sqlalchemy import text

from bandit.campaign.checks import parse_campaign
from bandit.sendtimes import QuietHours
from bandit.store.sql import migrate
from bandit.store.sql.database import Store
from bandit.wire.request import stored_request
from tests.integration.test_cli import Run, run
from tests.support.builders import campaign, decide, request, service
from tests.support.wire import (
    campaign_document,
    check_problem,
    decide_about,
    decide_document,
    decided,
    json_of,
    problem_of,
    put_campaign,
    with_value,
    without,
)

__all__ = ["run"]
NIGHT = "2026-11-20T07:40:00Z"  # 02:40 in New York
HOURS_ONLY = {"local_hours": [6, 8, 12, 20, 22]}
BEFORE = "0009"


def offered_hours(client: FlaskClient, document: dict[str, Any]) -> set[int]:
    """Hours in UTC at which the decision could have sent."""
    decision = decided(client, document)
    actions = json_of(client.get(f"/decisions/{decision['decision_id']}"))["actions"]
    return {datetime.fromisoformat(one["send_at"]).hour for one in actions if one["send_at"] is not None}


def plain_request(**changes: Any) -> dict[str, Any]:
    return without(without(decide_document(**changes), "user.quiet_hours"), "contents")


def test_who_names_hours_only_is_sent_nothing_at_night_nor_at_once(empty_client: FlaskClient) -> None:
    put_campaign(empty_client, send_times=HOURS_ONLY, policy={"floor": 1.0})
    shown = json_of(empty_client.get("/campaigns/reengage"))["document"]["send_times"]
    assert shown["allow_now"] is False
    assert shown["quiet_hours"] == {"start": "21:00", "end": "08:00"}
    assert offered_hours(empty_client, plain_request(now=NIGHT)) == {13, 17, 1}  # 8, 12 and 20 o'clock in New York


def test_who_says_none_and_at_once_is_sent_at_night_and_the_explanation_says_why(empty_client: FlaskClient) -> None:
    times = {"local_hours": [12], "allow_now": True, "quiet_hours": "none"}
    put_campaign(empty_client, send_times=times, policy={"floor": 1.0})
    assert 7 in offered_hours(empty_client, plain_request(now=NIGHT))
    sent = first_sent(empty_client, plain_request(now=NIGHT))
    assert "No quiet hours are set, and sending at once is allowed." in sentences(empty_client, sent)


def first_sent(client: FlaskClient, document: dict[str, Any]) -> str:
    """Id of the first decision that sends, about one user after another."""
    for number in range(50):
        decision = decided(client, with_value(document, "user.id", f"u-{number}"))
        if decision["send"]:
            return str(decision["decision_id"])
    raise AssertionError("nothing was sent")


def sentences(client: FlaskClient, decision_id: str) -> list[str]:
    told: list[str] = json_of(client.get(f"/decisions/{decision_id}/explanation"))["sentences"]
    return told


def test_nothing_is_sent_where_every_hour_is_quiet(client: FlaskClient) -> None:
    document = with_value(decide_document(), "user.quiet_hours", "all_day")
    assert decided(client, document)["reason"] in ("no_eligible_action", "holdout")
    sending = with_value(with_value(plain_request(), "user.id", "u-2"), "user.quiet_hours", "none")
    assert offered_hours(client, sending) == offered_hours(client, with_value(plain_request(), "user.id", "u-3"))


def test_a_request_that_names_no_channels_is_no_consent(client: FlaskClient) -> None:
    document = without(decide_about("u-1"), "user.channels")
    problem = problem_of(client.post("/decide", json=document), 400, "user.channels")
    assert 'consent = "assumed"' in problem["errors"][0]["message"]
    batch = json_of(client.post("/decide/batch", json={"requests": [document, decide_about("u-2")]}))["results"]
    check_problem(batch[0], 400, "user.channels")
    assert batch[1]["campaign"] == "reengage"


def test_a_campaign_may_assume_consent_and_the_explanation_says_so(empty_client: FlaskClient) -> None:
    put_campaign(empty_client, consent="assumed", policy={"floor": 1.0})
    sent = first_sent(empty_client, without(plain_request(), "user.channels"))
    assert any(one.startswith("Consent to ") and "was assumed" in one for one in sentences(empty_client, sent))


def test_a_channel_that_the_campaign_does_not_have_is_refused_with_those_it_has(client: FlaskClient) -> None:
    document = with_value(decide_about("u-1"), "user.channels", ["push", "sms"])
    problem = problem_of(client.post("/decide", json=document), 422, "user.channels")
    assert problem["errors"][0]["message"] == "'sms' is not a channel of campaign 'reengage'; it has: email, push"


def test_a_users_window_that_ends_when_it_starts_is_refused(client: FlaskClient) -> None:
    document = with_value(decide_document(), "user.quiet_hours", {"start": "09:00", "end": "09:00"})
    problem = problem_of(client.post("/decide", json=document), 400, "user.quiet_hours")
    assert '"none"' in problem["detail"]
    assert '"all_day"' in problem["detail"]


# What was stored before


def old(**send_times: Any) -> str:
    """A campaign as the release before stored it: without the words that it did not know."""
    document = json.loads(campaign().to_json())
    del document["consent"]
    del document["send_times"]["quiet_hours"]
    document["send_times"] |= send_times
    return json.dumps(document, sort_keys=True)


STORED = {
    "none": old(),
    "empty": old(quiet_hours={"start": "09:00", "end": "09:00"}),
    "night": old(quiet_hours={"start": "22:00", "end": "08:00"}),
    "hours": old(allow_now=False),
}


@pytest.fixture
def migrated(empty_database_url: str) -> Iterator[Store]:
    """Campaigns of the release before, one for each document, upgraded."""
    with closing(Store(empty_database_url)) as store:
        with migrate._upgrading(store) as connection:
            command.upgrade(migrate.config(connection), BEFORE)
            created = "0" if store.is_sqlite else "to_timestamp(0)"
            for name, document in STORED.items():
                stored = {"id": name, "document": document.replace('"spring"', f'"{name}"')}
                connection.execute(text("INSERT INTO campaigns VALUES (:id, 1, false)"), {"id": name})
                insert = f"INSERT INTO campaign_versions VALUES (:id, 1, :document, {created})"
                connection.execute(text(insert), stored)
        migrate.upgrade(store)
        yield store


def test_stored_campaigns_keep_their_meaning_and_say_it(migrated: Store) -> None:
    live = service(migrated)
    found = {one.campaign.id: one.campaign for one in live.campaigns.list()}
    assert {one.consent for one in found.values()} == {"assumed"}
    windows = {name: one.quiet_hours for name, one in found.items()}
    night = parse_campaign(json.dumps(campaign_document())).quiet_hours
    assert windows == {"none": None, "empty": None, "hours": None, "night": night}
    assert isinstance(night, QuietHours)
    assert {name: one.send_times.allow_now for name, one in found.items()} == {
        "none": True,
        "empty": True,
        "night": True,
        "hours": False,
    }
    for name in STORED:
        assert live.campaigns.put(found[name]).version == 1  # what is shown may be stored again: nothing changes


def test_stored_campaigns_offer_what_they_offered(migrated: Store) -> None:
    """2 channels x 3 contents x now, 12 and 18 o'clock, at 02:40; by night only the window forbids now."""
    live, night = service(migrated), datetime.fromisoformat("2026-03-02T02:40:00Z")
    offered = {}
    for name in STORED:
        (record,) = decide(live, [request("u-1", night, campaign=name)])
        offered[name] = len(record.pmf) - 1
    assert offered == {"none": 18, "empty": 18, "night": 12, "hours": 12}


def test_the_command_shows_what_a_campaign_says_by_saying_nothing(run: Run, sqlite_url: str) -> None:
    with closing(Store(sqlite_url)) as store:
        service(store).campaigns.put(parse_campaign(json.dumps(campaign_document(send_times=HOURS_ONLY, policy={}))))
    done = run("campaign", "show", "reengage", DATABASE_URL=sqlite_url)
    assert done.status == 0
    shown = json.loads(done.out)
    assert shown["consent"] == "required"
    assert shown["send_times"] == {
        "allow_now": False,
        "local_hours": HOURS_ONLY["local_hours"],
        "quiet_hours": {"start": "21:00", "end": "08:00"},
    }
    assert parse_campaign(done.out).to_json() == parse_campaign(json.dumps(shown)).to_json()
    assert run("campaign", "show", "autumn", DATABASE_URL=sqlite_url).err.startswith("sendopt: unknown campaign")


def test_requests_that_were_logged_before_are_read_by_their_own_rules() -> None:
    document = with_value(decide_document(), "user.quiet_hours", {"start": "09:00", "end": "09:00"})
    assert stored_request(document).user.quiet_hours is None
    own = stored_request(decide_document()).user.quiet_hours
    assert own == QuietHours(start=time(21), end=time(9, 30))
