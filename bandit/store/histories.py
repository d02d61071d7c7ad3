"""Sends and responses of users, read by index in two statements for any number of users."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Table, bindparam, select

from bandit.campaign.document import Campaign
from bandit.campaign.rewards import event_worth
from bandit.decide.history import NO_HISTORY, History, Response, Send
from bandit.store.sql.prepared import PreparedQuery
from bandit.store.sql.schema import feedback, sends

Key = tuple[str, str]  # campaign id, user id


def _of(table: Table) -> ColumnElement[bool]:
    """Rows of these users in these campaigns.

    It reads all combinations of both, which is more than needed; but SQLite uses an index for this, and scans the table
    for pairs.
    """
    users: BindParameter[str] = bindparam("users", expanding=True)
    campaigns: BindParameter[str] = bindparam("campaigns", expanding=True)
    return table.c.user_id.in_(users) & table.c.campaign_id.in_(campaigns)


_LISTS = ("users", "campaigns")
_SENDS = PreparedQuery(
    select(
        sends.c.campaign_id,
        sends.c.user_id,
        sends.c.decision_id,
        sends.c.channel,
        sends.c.content,
        sends.c.kind,
        sends.c.send_at,
    )
    .where(_of(sends), sends.c.send_at >= bindparam("since"))
    .order_by(sends.c.send_at, sends.c.decision_id),
    lists=_LISTS,
)
_RESPONSES = PreparedQuery(
    select(
        feedback.c.campaign_id,
        feedback.c.user_id,
        feedback.c.decision_id,
        feedback.c.event,
        feedback.c.value,
        feedback.c.occurred_at,
    )
    .where(_of(feedback), feedback.c.occurred_at >= bindparam("since"), feedback.c.excluded_at.is_(None))
    .order_by(feedback.c.occurred_at),
    lists=_LISTS,
)


def load(
    connection: Connection, keys: Iterable[Key], campaigns: Mapping[str, Campaign], since: datetime
) -> dict[Key, History]:
    """Histories of these users in these campaigns, with everything at or after `since`."""
    wanted = set(keys)
    asked = {
        "users": sorted({user_id for _, user_id in wanted}),
        "campaigns": sorted({campaign_id for campaign_id, _ in wanted}),
        "since": since,
    }
    sent = _sends(connection, asked)
    responses = _responses(connection, asked, campaigns)
    return {key: _history(sent.get(key), responses.get(key)) for key in wanted}


def _history(sent: list[Send] | None, responses: list[Response] | None) -> History:
    return History(sends=tuple(sent or ()), responses=tuple(responses or ())) if sent or responses else NO_HISTORY


def _sends(connection: Connection, asked: Mapping[str, Any]) -> dict[Key, list[Send]]:
    found: dict[Key, list[Send]] = {}
    for campaign_id, user_id, decision_id, channel, content, kind, send_at in _SENDS.rows(connection, asked):
        send = Send(decision_id=decision_id, channel=channel, content=content, kind=kind, send_at=send_at)
        found.setdefault((campaign_id, user_id), []).append(send)
    return found


def _responses(
    connection: Connection, asked: Mapping[str, Any], campaigns: Mapping[str, Campaign]
) -> dict[Key, list[Response]]:
    found: dict[Key, list[Response]] = {}
    for campaign_id, user_id, decision_id, event, value, occurred_at in _RESPONSES.rows(connection, asked):
        if (event_worth(campaigns[campaign_id], event, value) or 0.0) > 0:
            response = Response(decision_id=decision_id, occurred_at=occurred_at)
            found.setdefault((campaign_id, user_id), []).append(response)
    return found
