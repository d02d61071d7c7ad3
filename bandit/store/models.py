"""Model versions, the aliases champion and challenger, and every change of an alias."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, literal, select, update

from bandit.store.sql.schema import gate_pairs, model_aliases, models, promotions

CHAMPION = "champion"
CHALLENGER = "challenger"
OK = "ok"  # the health of a version that may serve
PURGED = "purged"  # start of the health of a version that learned feedback which was purged later
# Causes of a change.
PROMOTE, ROLLBACK, NEW_LINEAGE, RELEARN, PURGE = "promote", "rollback", "new_lineage", "relearn", "purge"
GATE = "gate"  # a promotion that the gate decided
FALL = "fall"  # change detection: the learned policy earned far less
DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The data of a version without its bytes."""

    campaign_id: str
    version: int
    parent: int  # 0: trained from nothing
    lineage: int  # the first version of its lineage
    arguments: str
    engine_version: str
    watermark: int  # last learned `closings.seq`
    events_learned: int
    created_at: datetime
    size: int
    digest: str
    health: str = OK  # or the reason why it was refused; a refused version never becomes champion
    settings: str | None = None  # JSON: settings of its lineage that differ from the campaign's
    alarm: str | None = None  # JSON: the detector of falls at the watermark; None: from before there was one
    champion_since: datetime | None = None  # None while it is not the champion
    champion_seconds: float = 0.0  # as champion in earlier times, in all


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow(Manifest):
    """A version as stored: its manifest and its bytes."""

    bytes: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """An alias of a campaign."""

    alias: str
    version: int
    held: bool  # the learner does not move it
    campaign_arguments: str  # the campaign's engine arguments when the alias was last set


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of an alias to anything other than the next version of its lineage."""

    campaign_id: str
    alias: str
    version: int | None  # None: the alias was cleared
    previous: int | None  # None: the alias was not set
    at: datetime
    cause: str
    undoes: int | None = None  # `seq` of the change that this one undid


_MANIFEST = [column for column in models.c if column.name != "bytes"]


def champion_versions(connection: Connection) -> dict[str, int]:
    """The serving version of each campaign that has one."""
    table = model_aliases
    statement = select(table.c.campaign_id, table.c.version).where(table.c.alias == CHAMPION)
    return {row.campaign_id: row.version for row in connection.execute(statement)}


def aliases(connection: Connection, campaign_id: str) -> dict[str, Alias]:
    """The aliases of a campaign by name."""
    table = model_aliases
    statement = select(table.c.alias, table.c.version, table.c.held, table.c.campaign_arguments)
    found = connection.execute(statement.where(table.c.campaign_id == campaign_id))
    return {row.alias: Alias(**row._mapping) for row in found}


def champion(connection: Connection, campaign_id: str) -> ModelRow | None:
    """The serving version of a campaign; None before the first version."""
    version = champion_versions(connection).get(campaign_id)
    return None if version is None else get(connection, campaign_id, version)


def get(connection: Connection, campaign_id: str, version: int) -> ModelRow | None:
    """A version with its bytes; None if there is no such version."""
    statement = select(models).where(models.c.campaign_id == campaign_id, models.c.version == version)
    row = connection.execute(statement).one_or_none()
    return None if row is None else ModelRow(**row._mapping)


def manifest(connection: Connection, campaign_id: str, version: int) -> Manifest | None:
    """A version without its bytes; None if there is no such version."""
    statement = select(*_MANIFEST).where(models.c.campaign_id == campaign_id, models.c.version == version)
    row = connection.execute(statement).one_or_none()
    return None if row is None else Manifest(**row._mapping)


def latest_version(connection: Connection, campaign_id: str) -> int:
    """The highest version of a campaign; 0 if there is none."""
    statement = select(func.max(models.c.version)).where(models.c.campaign_id == campaign_id)
    return connection.execute(statement).scalar_one() or 0


def refused_at(connection: Connection, campaign_id: str, parent: int, arguments: str) -> int | None:
    """The last watermark at which a version with this parent was refused; None if there is none."""
    statement = select(func.max(models.c.watermark)).where(
        models.c.campaign_id == campaign_id,
        models.c.parent == parent,
        models.c.arguments == arguments,
        models.c.health != OK,
        models.c.health.not_like(f"{PURGED}%"),  # passed the canary originally
    )
    watermark: int | None = connection.execute(statement).scalar_one()
    return watermark


def manifests(connection: Connection, campaign_id: str) -> Sequence[Row[*tuple[Any, ...]]]:
    """All versions without their bytes, with alias and whether the alias is held, newest first."""
    statement = (
        select(*_MANIFEST, model_aliases.c.alias, func.coalesce(model_aliases.c.held, False).label("held"))
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
    """Removes versions that are no longer needed.

    It keeps the newest versions, those with an alias and their parents, the pair that a gated promotion compares, those
    that were champion for a day, and the champions before each change, to which a rollback goes back.
    """
    kept = select(models.c.version).where(models.c.campaign_id == campaign_id)
    oldest_kept = kept.order_by(models.c.version.desc()).offset(newest - 1).limit(1).scalar_subquery()
    aliased = select(model_aliases.c.version).where(model_aliases.c.campaign_id == campaign_id)
    parents = select(models.c.parent).where(models.c.campaign_id == campaign_id, models.c.version.in_(aliased))
    before = select(promotions.c.previous).where(
        promotions.c.campaign_id == campaign_id, promotions.c.alias == CHAMPION, promotions.c.previous.is_not(None)
    )
    compared = (
        select(version).where(gate_pairs.c.campaign_id == campaign_id)
        for version in (gate_pairs.c.challenger, gate_pairs.c.champion)
    )
    connection.execute(
        delete(models).where(
            models.c.campaign_id == campaign_id,
            models.c.version < oldest_kept,
            models.c.champion_seconds < DAY_SECONDS,
            *(models.c.version.not_in(useful) for useful in (aliased, parents, before, *compared)),
        )
    )


def point(connection: Connection, campaign_id: str, named: Alias, at: datetime) -> None:
    """Sets the alias, and records how long versions were champion."""
    table = model_aliases
    key = (table.c.campaign_id == campaign_id) & (table.c.alias == named.alias)
    previous = connection.execute(select(table.c.version).where(key)).scalar_one_or_none()
    values = {"version": named.version, "held": named.held, "campaign_arguments": named.campaign_arguments}
    if previous is None:
        connection.execute(insert(table).values(campaign_id=campaign_id, alias=named.alias, **values))
    else:
        connection.execute(update(table).where(key).values(values))
    if named.alias == CHAMPION and previous != named.version:
        _end_reign(connection, campaign_id, previous, at)
        _set(connection, campaign_id, named.version, champion_since=at)


def _end_reign(connection: Connection, campaign_id: str, version: int | None, at: datetime) -> None:
    row = None if version is None else manifest(connection, campaign_id, version)
    if row is not None and row.champion_since is not None:
        reigned = row.champion_seconds + (at - row.champion_since).total_seconds()
        _set(connection, campaign_id, row.version, champion_since=None, champion_seconds=reigned)


def _set(connection: Connection, campaign_id: str, version: int, **values: Any) -> None:
    chosen = (models.c.campaign_id == campaign_id) & (models.c.version == version)
    connection.execute(update(models).where(chosen).values(values))


def set_settings(connection: Connection, campaign_id: str, version: int, settings: str | None) -> None:
    _set(connection, campaign_id, version, settings=settings)


def refuse_from(connection: Connection, campaign_id: str, watermark: int, why: str) -> int:
    """Refuses all healthy versions that have learned the event at the watermark; returns their number.

    Versions that the canary had refused are marked too, because a new lineage no longer learns what they learned.
    """
    taught = (models.c.campaign_id == campaign_id) & (models.c.watermark >= watermark)
    refused = taught & (models.c.health != OK) & models.c.health.not_like(f"{PURGED}%")
    connection.execute(update(models).where(refused).values(health=literal(f"{why}; before: ") + models.c.health))
    return connection.execute(update(models).where(taught, models.c.health == OK).values(health=why)).rowcount


def clear(connection: Connection, campaign_id: str, alias: str) -> None:
    """Removes the alias."""
    table = model_aliases
    connection.execute(delete(table).where(table.c.campaign_id == campaign_id, table.c.alias == alias))


def note(connection: Connection, change: Change) -> None:
    """Records the change of an alias."""
    columns = [column.name for column in promotions.c if column.name != "seq"]
    connection.execute(insert(promotions).values({name: getattr(change, name) for name in columns}))


def last_promotion(connection: Connection, campaign_id: str) -> Row[*tuple[Any, ...]] | None:
    """The last change from one champion to another that was not undone; None if there is none.

    A rollback does not count as such a change, so two rollbacks go back two steps.
    """
    table = promotions
    own = (table.c.campaign_id == campaign_id) & (table.c.alias == CHAMPION)
    undone = select(table.c.undoes).where(own, table.c.undoes.is_not(None))
    statement = (
        select(table.c.seq, table.c.previous)
        .where(own, table.c.cause != ROLLBACK, table.c.previous != table.c.version, table.c.seq.not_in(undone))
        .order_by(table.c.seq.desc())
        .limit(1)
    )
    return connection.execute(statement).one_or_none()
