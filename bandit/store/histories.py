"""What users were sent and did, read by index in two statements however many users are asked for."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, select

from bandit.campaign import Campaign
from bandit.history import History, Response, Send
from bandit.rewards import event_worth
from bandit.store.schema import feedback, sends

Key = tuple[str, str]  # campaign id, user id


def load(
    connection: Connection, keys: Iterable[Key], campaigns: Mapping[str, Campaign], since: datetime
) -> dict[Key, History]:
    """Histories of these users in these campaigns, with everything at or after `since`."""
    wanted = set(keys)
    sent = _sends(connection, wanted, since)
    responses = _responses(connection, wanted, campaigns, since)
    return {key: History(sends=tuple(sent[key]), responses=tuple(responses[key])) for key in wanted}


def _of(table: Table, keys: set[Key]) -> ColumnElement[bool]:
    """Rows of these users in these campaigns.

    All pairs of both: more than was asked for, but SQLite searches an index for this and scans the table for pairs.
    """
    in_campaigns = table.c.campaign_id.in_(sorted({campaign_id for campaign_id, _ in keys}))
    return table.c.user_id.in_(sorted({user_id for _, user_id in keys})) & in_campaigns


def _sends(connection: Connection, keys: set[Key], since: datetime) -> dict[Key, list[Send]]:
    table = sends
    statement = (
        select(table).where(_of(table, keys), table.c.send_at >= since).order_by(table.c.send_at, table.c.decision_id)
    )
    found = defaultdict(list)
    for row in connection.execute(statement):
        send = Send(
            decision_id=row.decision_id,
            channel=row.channel,
            content=row.content,
            kind=row.kind,
            send_at=row.send_at,
        )
        found[row.campaign_id, row.user_id].append(send)
    return found


def _responses(
    connection: Connection, keys: set[Key], campaigns: Mapping[str, Campaign], since: datetime
) -> dict[Key, list[Response]]:
    table = feedback
    statement = (
        select(
            table.c.campaign_id,
            table.c.user_id,
            table.c.decision_id,
            table.c.event,
            table.c.value,
            table.c.occurred_at,
        )
        .where(_of(table, keys), table.c.occurred_at >= since)
        .order_by(table.c.occurred_at)
    )
    found = defaultdict(list)
    for row in connection.execute(statement):
        if (event_worth(campaigns[row.campaign_id], row.event, row.value) or 0.0) > 0:
            response = Response(decision_id=row.decision_id, occurred_at=row.occurred_at)
            found[row.campaign_id, row.user_id].append(response)
    return found
