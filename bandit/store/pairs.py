"""The pair that a gated promotion compares: challenger and champion as they were when it began.

Both aliases go on learning, and soon have learned every decision. Only versions that do not change can be judged on
decisions that neither has learned, so these two are kept as long as the comparison lasts. Whenever an alias is set to
anything other than the next version of its lineage, the comparison starts again with another pair.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from bandit.store import models
from bandit.store.models import CHALLENGER, CHAMPION
from bandit.store.sql.schema import gate_pairs, model_aliases


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two versions of one campaign."""

    campaign_id: str
    challenger: int
    champion: int
    since: datetime


def get(connection: Connection, campaign_id: str) -> Pair | None:
    """The campaign's pair; None if it has no challenger or no champion."""
    found = connection.execute(select(gate_pairs).where(gate_pairs.c.campaign_id == campaign_id)).one_or_none()
    return None if found is None else Pair(**found._mapping)


def unheld(connection: Connection) -> list[Pair]:
    """The pairs of all campaigns whose champion is not held."""
    table = model_aliases
    champion = (table.c.campaign_id == gate_pairs.c.campaign_id) & (table.c.alias == CHAMPION)
    statement = select(gate_pairs).join(table, champion).where(table.c.held.is_(False))
    return [Pair(**row._mapping) for row in connection.execute(statement.order_by(gate_pairs.c.campaign_id))]


def begin(connection: Connection, campaign_id: str, at: datetime) -> None:
    """Sets the pair to the current versions of both aliases; removes it if an alias is not set."""
    connection.execute(delete(gate_pairs).where(gate_pairs.c.campaign_id == campaign_id))
    named = models.aliases(connection, campaign_id)
    if CHALLENGER in named and CHAMPION in named:
        pair = {"challenger": named[CHALLENGER].version, "champion": named[CHAMPION].version, "since": at}
        connection.execute(insert(gate_pairs).values(campaign_id=campaign_id, **pair))


def begin_first(connection: Connection, campaign_id: str, at: datetime) -> None:
    """The same, but only if the campaign has no pair yet."""
    if get(connection, campaign_id) is None:
        begin(connection, campaign_id, at)
