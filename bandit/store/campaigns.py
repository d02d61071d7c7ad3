"""Campaign documents and their versions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from bandit.store.sql.prepared import PreparedQuery
from bandit.store.sql.schema import campaign_versions, campaigns


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignHead:
    """The current version of a campaign."""

    id: str
    version: int
    paused: bool


_ALL_HEADS = select(campaigns.c.id, campaigns.c.current_version, campaigns.c.paused).order_by(campaigns.c.id)
_HEADS = PreparedQuery(_ALL_HEADS.where(campaigns.c.id.in_(bindparam("ids", expanding=True))), lists=["ids"])


def heads(connection: Connection, ids: Iterable[str] | None = None) -> list[CampaignHead]:
    """Current versions by campaign id; of all campaigns if no ids are given."""
    wanted = None if ids is None else sorted(set(ids))
    if wanted == []:
        return []
    found = connection.execute(_ALL_HEADS) if wanted is None else _HEADS.rows(connection, {"ids": wanted})
    return [CampaignHead(id=campaign_id, version=version, paused=paused) for campaign_id, version, paused in found]


def document(connection: Connection, campaign_id: str, version: int) -> str | None:
    """JSON text of one version; None if there is no such version."""
    table = campaign_versions
    statement = select(table.c.document).where(table.c.campaign_id == campaign_id, table.c.version == version)
    return connection.execute(statement).scalar_one_or_none()


def add_version(connection: Connection, campaign_id: str, version: int, text: str, created_at: datetime) -> None:
    """Stores a version and makes it current."""
    if version == 1:
        connection.execute(insert(campaigns).values(id=campaign_id, current_version=version, paused=False))
    connection.execute(
        insert(campaign_versions).values(campaign_id=campaign_id, version=version, document=text, created_at=created_at)
    )
    if version > 1:
        connection.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(current_version=version))


def set_paused(connection: Connection, campaign_id: str, paused: bool) -> None:
    connection.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(paused=paused))
