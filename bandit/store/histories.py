"""What users were sent and did, read by index in two statements however many users are asked for."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, select, tuple_

from bandit.campaign import Campaign
from bandit.history import History, Response, Send
from bandit.rewards import event_worth
from bandit.store.schema import feedback, sends

Key = tuple[str, str]  # campaign id, user id


def load(
    connection: Connection, keys: Iterable[Key], campaigns: dict[str, Campaign], since: datetime
) -> dict[Key, History]:
    """Histories of these users in these campaigns, with everything at or after `since`."""
    wanted = sorted(set(keys))
    sent = _sends(connection, wanted, since)
    responses = _responses(connection, wanted, campaigns, since)
    return {key: History(sends=tuple(sent[key]), responses=tuple(responses[key])) for key in wanted}


def _sends(connection: Connection, keys: list[Key], since: datetime) -> dict[Key, list[Send]]:
    table = sends
    statement = (
        select(table)
        .where(tuple_(table.c.campaign_id, table.c.user_id).in_(keys), table.c.send_at >= since)
        .order_by(table.c.send_at)
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
    connection: Connection, keys: list[Key], campaigns: dict[str, Campaign], since: datetime
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
        .where(tuple_(table.c.campaign_id, table.c.user_id).in_(keys), table.c.occurred_at >= since)
        .order_by(table.c.occurred_at)
    )
    found = defaultdict(list)
    for row in connection.execute(statement):
        if (event_worth(campaigns[row.campaign_id], row.event, row.value) or 0.0) > 0:
            response = Response(decision_id=row.decision_id, occurred_at=row.occurred_at)
            found[row.campaign_id, row.user_id].append(response)
    return found
