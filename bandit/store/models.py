"""Published model versions and which of them serves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from bandit.store.schema import model_aliases, models

CHAMPION = "champion"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """A version as stored: its manifest and its bytes."""

    campaign_id: str
    version: int
    parent: int
    arguments: str
    engine_version: str
    watermark: int
    events_learned: int
    created_at: datetime
    size: int
    digest: str
    bytes: bytes


def champion_versions(connection: Connection) -> dict[str, int]:
    """The serving version of each campaign that has one."""
    table = model_aliases
    statement = select(table.c.campaign_id, table.c.version).where(table.c.alias == CHAMPION)
    return {row.campaign_id: row.version for row in connection.execute(statement)}


def champion(connection: Connection, campaign_id: str) -> ModelRow | None:
    """The serving version of a campaign, None before anything was learned."""
    version = champion_versions(connection).get(campaign_id)
    return None if version is None else get(connection, campaign_id, version)


def get(connection: Connection, campaign_id: str, version: int) -> ModelRow | None:
    statement = select(models).where(models.c.campaign_id == campaign_id, models.c.version == version)
    row = connection.execute(statement).one_or_none()
    return None if row is None else ModelRow(**row._mapping)


def latest_version(connection: Connection, campaign_id: str) -> int:
    """The highest version of a campaign; 0 when there is none."""
    statement = select(func.max(models.c.version)).where(models.c.campaign_id == campaign_id)
    return connection.execute(statement).scalar_one() or 0


def manifests(connection: Connection, campaign_id: str) -> Sequence[Row[*tuple[Any, ...]]]:
    """Every version without its bytes, with its alias, newest first."""
    columns = [column for column in models.c if column.name != "bytes"]
    statement = (
        select(*columns, model_aliases.c.alias)
        .outerjoin(
            model_aliases,
            (model_aliases.c.campaign_id == models.c.campaign_id) & (model_aliases.c.version == models.c.version),
        )
        .where(models.c.campaign_id == campaign_id)
        .order_by(models.c.version.desc())
    )
    return connection.execute(statement).all()


def add(connection: Connection, row: ModelRow) -> None:
    connection.execute(insert(models).values({column.name: getattr(row, column.name) for column in models.c}))


def forget_old(connection: Connection, campaign_id: str, newest: int) -> None:
    """Removes versions that are neither among the newest ones nor named by an alias."""
    aliased = select(model_aliases.c.version).where(model_aliases.c.campaign_id == campaign_id)
    kept = select(models.c.version).where(models.c.campaign_id == campaign_id)
    oldest_kept = kept.order_by(models.c.version.desc()).offset(newest - 1).limit(1).scalar_subquery()
    connection.execute(
        delete(models).where(
            models.c.campaign_id == campaign_id, models.c.version < oldest_kept, models.c.version.not_in(aliased)
        )
    )


def point(connection: Connection, campaign_id: str, alias: str, version: int) -> None:
    """Makes the alias name the version."""
    table = model_aliases
    moved = connection.execute(
        update(table).where(table.c.campaign_id == campaign_id, table.c.alias == alias).values(version=version)
    )
    if moved.rowcount == 0:
        connection.execute(insert(table).values(campaign_id=campaign_id, alias=alias, version=version))
